"""What load balancers and people ask a node's proxy: does it keep up, and has a Service endpoints here?"""
