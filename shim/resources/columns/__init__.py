"""Printed columns: what ``kubectl get`` shows of each kind, one file per area; the table of resources names them."""
