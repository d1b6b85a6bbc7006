"""Sojourn's benchmark: `python -m bench [memory|sqlite|valkey|postgres|asgi|http|million] [--quick] [--json FILE]`.

It is not a timed test: nothing here fails because a machine is slow. Every run measures the floor, the
peers and Sojourn side by side, in turns, and prints ratios; a figure is only worth something beside its
neighbours.

Rules. Contenders do the same work with the same data. What a contender promises less (no isolation, no
durability, lost updates) is said in its label. Ids and values are made before the clock starts. Every loop is
bounded, in rounds or in seconds, and every temporary folder is removed.

    payloads.py   the three sessions: A, B and C
    contender.py  the operations that everyone offers
    floors.py     bare dicts and raw sqlite3
    peers.py      other libraries, as their users get them
    ours.py       Sojourn, blocking and async
    timing.py     rounds, in turns; medians and percentiles
    report.py     sections, rich tables, JSON
    servers.py    real servers, and which CPU has what
    network.py    what the benches of the network stores share
    memory.py, sqlite.py and writers.py, million.py   one question each
    valkey.py, with valkey_rivals.py and valkey_memory.py; postgres.py, with postgres_rivals.py; asgi.py and
    asgi_redis.py   the same on servers
    http.py   whole requests, with wrk; http_apps/ has the applications
    live.py   live apps, in parts (live_*.py) and with a browser; live_apps/ has the applications
    __main__.py   the command line
"""
