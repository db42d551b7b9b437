"""Intercepts sessions as their RADIUS reply says.

The distribution holds the place of the plugin in the repository; it registers nothing yet.
"""
