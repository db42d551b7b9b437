"""Walled garden: sessions that failed to authenticate get in, but only as far as the operator's
rules let them. docs/garden.md describes what it does; GardenPlugin is the plugin `garden`.
"""

from l2tpns_plugins_garden.plugin import GardenPlugin

__all__ = ["GardenPlugin"]
