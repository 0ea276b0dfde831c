"""Arms on a Ray cluster: the hop to their replicas, which Ray has no part in.

    gateway: endpoint ──► replica's link ═══ frames ═══► connection ──► the opened model : replica
             ▲ membership                                                 (serving.py)

Nothing in the hop imports ray, nor needs it: any process that calls `serve_hop` is a replica.
"""
