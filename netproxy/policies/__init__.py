"""NetworkPolicies: which pods may talk, as chains and address sets of this node."""
