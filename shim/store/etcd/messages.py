"""The part of etcd's gRPC interface that the store uses, as a table of fields; classes are made from it at import.

Names and numbers are those of etcd's interface description, rpc.proto and kv.proto of version 3 (fields that nobody
here reads or sets are left out: protobuf passes over them). A table needs no generated code and no compiler.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "etcdserverpb"
_SCALARS = {"int": 3, "uint": 4, "bool": 8, "text": 9, "bytes": 12}  # FieldDescriptorProto.Type of int64, uint64, ...
_MESSAGE, _ONE, _MANY = 11, 1, 3

_TABLE = """
ResponseHeader      revision:int=3
KeyValue            key:bytes=1 mod_revision:int=3 version:int=4 value:bytes=5
RangeRequest        key:bytes=1 range_end:bytes=2 limit:int=3 revision:int=4 count_only:bool=9
RangeResponse       header:ResponseHeader=1 kvs:KeyValue*=2 more:bool=3 count:int=4
PutRequest          key:bytes=1 value:bytes=2 lease:int=3
PutResponse         header:ResponseHeader=1
DeleteRangeRequest  key:bytes=1
DeleteRangeResponse header:ResponseHeader=1 deleted:int=2
RequestOp           request_range:RangeRequest=1 request_put:PutRequest=2 request_delete_range:DeleteRangeRequest=3
ResponseOp          response_range:RangeResponse=1
Compare             result:int=1 target:int=2 key:bytes=3 version:int=4 mod_revision:int=6
TxnRequest          compare:Compare*=1 success:RequestOp*=2 failure:RequestOp*=3
TxnResponse         header:ResponseHeader=1 succeeded:bool=2 responses:ResponseOp*=3
CompactionRequest   revision:int=1
CompactionResponse  header:ResponseHeader=1
WatchCreateRequest  key:bytes=1 range_end:bytes=2 start_revision:int=3 prev_kv:bool=6
WatchProgressRequest
WatchRequest        create_request:WatchCreateRequest=1 progress_request:WatchProgressRequest=3
Event               type:int=1 kv:KeyValue=2 prev_kv:KeyValue=3
WatchResponse       header:ResponseHeader=1 created:bool=3 canceled:bool=4 compact_revision:int=5 cancel_reason:text=6 \
events:Event*=11
LeaseGrantRequest   TTL:int=1
LeaseGrantResponse  header:ResponseHeader=1 ID:int=2 TTL:int=3
AuthenticateRequest  name:text=1 password:text=2
AuthenticateResponse header:ResponseHeader=1 token:text=2
"""
"""A line a message: ``name:type=number`` for each field, ``*`` where there may be many. The enumerations of etcd
(``result``, ``target``, ``type``) are integers here: on the wire they are the same."""

EQUAL, GREATER = 0, 1  # Compare.result
VERSION = 0  # Compare.target: how often the key was written since it was made, 0 where there is no such key
MOD = 2  # Compare.target: the revision of the key's last change, 0 where there is no such key
DELETE = 1  # Event.type


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="shim/etcd.proto", package=_PACKAGE, syntax="proto3")
    for line in _TABLE.replace("\\\n", "").strip().splitlines():
        name, *fields = line.split()
        message = file.message_type.add(name=name)
        for field in fields:
            described, number = field.split("=")
            label, kind = described.split(":")
            many, kind = (_MANY, kind[:-1]) if kind.endswith("*") else (_ONE, kind)
            made = message.field.add(name=label, number=int(number), label=many)
            if kind in _SCALARS:
                made.type = _SCALARS[kind]
            else:
                made.type, made.type_name = _MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}"))
        for message in file.message_type
    }


message: dict[str, Any] = _classes()
"""Message classes by their names."""
