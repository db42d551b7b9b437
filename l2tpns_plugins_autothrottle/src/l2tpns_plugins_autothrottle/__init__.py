"""Throttles sessions as their RADIUS reply says. AutoThrottlePlugin is the plugin `autothrottle`;
its README lists the forms of Cisco-AVPair that it understands.
"""

from l2tpns_plugins_autothrottle.plugin import AutoThrottlePlugin

__all__ = ["AutoThrottlePlugin"]
