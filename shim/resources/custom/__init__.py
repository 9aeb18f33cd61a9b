"""Custom resources: what a CustomResourceDefinition makes of its schema, as pure functions of plain objects.

``structure`` reads a schema; ``pruning`` drops, ``defaulting`` fills in, ``values`` and ``rules`` (CEL) judge;
``strategy`` and ``rows`` make of it what the table of resources has for built-in kinds; ``published`` tells OpenAPI.

``definition`` is the kind CustomResourceDefinition: ``definition_rules``, ``version_rules`` and ``conversion_rules``
judge its specification, ``schema_rules`` a schema, with ``structural_rules``, ``list_rules``, ``default_rules`` and
``rule_checks`` (CEL) for what is most of it.
"""
