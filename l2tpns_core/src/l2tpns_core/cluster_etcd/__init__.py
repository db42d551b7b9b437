"""Election and membership of a cluster in etcd, where there is no multicast or where there must
never be two masters.
"""
