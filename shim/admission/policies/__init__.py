"""Admission policies: rules in CEL that refuse or change what is written, where their bindings say.

``compiled`` makes a policy ready, ``invocation`` finds which of them mean a request and with which parameters,
``validating`` and ``mutating`` are the plugins.
"""
