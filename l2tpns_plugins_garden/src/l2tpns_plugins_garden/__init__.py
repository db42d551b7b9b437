"""Walled garden for sessions that failed to authenticate.

The distribution holds the place of the plugin in the repository; it registers nothing yet.
"""
