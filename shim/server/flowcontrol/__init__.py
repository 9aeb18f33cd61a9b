"""API Priority and Fairness: whose request is next, when more come than can be answered at once (KEP-1040).

    request ──▶ classify ──▶ its flow ──▶ width ──▶ queues of its level ──▶ answered ──▶ seats are free again
                FlowSchemas   user or     how many   who waits least          │
                by precedence  namespace   seats      is next                 └─ 429 and Retry-After (drops)

The server has so many seats (``--max-requests-inflight`` and ``--max-mutating-requests-inflight`` together), which
priority levels share by weight (``limits``) and lend each other, as their demand of late tells (``dwell``). Who floods
one level leaves the others alone; who floods it as one user finds only the few queues full that this user's requests
may wait in, and everybody else's are served in turn with them.

Pure, and to be read first: ``classify``, ``queues``, ``width``, ``limits``. ``levels`` puts the objects and these
together, ``gate`` stands in the way of requests, ``follow`` watches the objects and keeps them. What is going on is
told by ``families`` (at /metrics) and ``dumps`` (below /debug/api_priority_and_fairness/).
"""
