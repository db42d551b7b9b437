"""Intercepts sessions as their RADIUS reply says. AutoSnoopPlugin is the plugin `autosnoop`; its
README lists the forms of Cisco-AVPair that it understands.
"""

from l2tpns_plugins_autosnoop.plugin import AutoSnoopPlugin

__all__ = ["AutoSnoopPlugin"]
