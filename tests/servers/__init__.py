"""Real servers for the tests, and a proxy that spoils what passes between them and a client.

    process   a server process: started on a free port, hung, killed, started again, and gone when the tests are over
    valkey    Valkey or Redis: one server, one with a replica, three watched by Sentinels, a Cluster
    resp      a plain client for Valkey and Redis, to look from beside the store
    postgres  PostgreSQL
    proxy     delays, cuts, swallows and refuses, when a test says so

Nothing here knows Sojourn, and nothing here is a stand-in for a server.
"""
