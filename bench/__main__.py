"""`python -m bench`: see `bench.report`."""

from bench.report import main

raise SystemExit(main())
