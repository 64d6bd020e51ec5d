"""The playground: a page of this machine on which a person breaks, opens and steers a network by hand.

A thin room over the verbs; no technique lives here. `start.py` opens the port, `app.py` has the routes,
`guard.py` decides who may ask, `worker.py` does one thing after another, `jobs/` are the things, one short
file a panel of the page. A job is asked for by one request and answers by events, until it ends, a newer one
of the same page takes its place, or whoever asked leaves.
"""
