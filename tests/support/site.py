"""The daemon in namespaces of l2tpns_core.lab, under the name that our own tests know it by."""

from l2tpns_core.lab.site import HOST_ADDRESS, LAC_ADDRESS, LNS_ADDRESS, SECRET, Site

__all__ = ["HOST_ADDRESS", "LAC_ADDRESS", "LNS_ADDRESS", "SECRET", "Site"]
