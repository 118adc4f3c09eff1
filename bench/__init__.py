"""Benchmarks, a module each.

Each prints its results as tables, or as JSON with `--json`:

    python -m bench.floor          this machine's rates, and what an evaluation must cost at least
    python -m bench.evaluations    seconds an evaluation, beside the textbook loop and the floor
    python -m bench.peers          the same beside other projects, whose checkouts are given
    python -m bench.lbfgs          our optimiser beside torch.optim.LBFGS
    python -m bench.curves         loss against seconds, beside plain L-BFGS at full size
    python -m bench.batches        pictures a minute by batch
    python -m bench.large          pictures larger than memory: resident set and seconds
    python -m bench.gpu            what is asked of a CUDA device
    python -m bench.api            requests a second of the API
    python -m bench.throughput     jobs a second where painting costs nothing
    python -m bench.bulk           how soon a batch is accepted and made into jobs; with --lines, a million

`python -m bench` runs them all, each in a process of its own, and writes docs/benchmarks.md. What is
measured is the engine's public door; what it is compared with is written here, apart from the engine.
"""
