"""Custom resources: what a CustomResourceDefinition makes of its schema, as pure functions of plain objects.

``structure`` reads a schema; ``pruning`` drops, ``defaulting`` fills in, ``values`` and ``rules`` (CEL) judge;
``strategy`` and ``rows`` make of it what the table of resources has for built-in kinds. ``definition`` judges
CustomResourceDefinitions themselves.
"""
