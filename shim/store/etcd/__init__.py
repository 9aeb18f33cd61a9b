"""The store on etcd: shared by several API servers, surviving the loss of a member."""

from shim.store.etcd.store import EtcdStore, open_etcd

__all__ = ["EtcdStore", "open_etcd"]
