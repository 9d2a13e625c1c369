# The two commands: `make demo` and `make test`. Each does all of its own set-up.
#   DEMO_SECONDS=60 make demo   stops by itself after so many seconds of traffic and ends with the audit
#   make test-all               every test in its longest form: many kills, many histories; 45 minutes
#   make check                  format, lint, types, imports, unit tests
#   make faults                 every fault on real servers, one line each: some minutes
#   make simulate SEEDS=20000   so many histories of a simulated world; SEED=7: that one; MUTATIONS=1: deliberate bugs, found
#   make soak CALLS=2000        calls that try to break the line, on the real Asterisk; the wire against the bills: as root
#   make bench ROW=P1           one row of docs/performance.md as one JSON line

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
RUN := .venv/bin
# Test processes side by side, each with servers of its own. Most tests wait more than they work.
WORKERS ?= 2
# Our own modules are compiled once, into __pycache__, not at each start of each process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all faults simulate check bench soak lint types imports unit setup clean

setup:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; set PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" bootstrap.py

demo: setup
	@exec $(RUN)/streamco demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test test-all: setup
	@$(RUN)/python -m tests.prepare
	$(RUN)/python -m pytest -n $(WORKERS) --max-worker-restart=0 --time-budget $(if $(filter test-all,$@),--whole) $(PYTEST)

faults: setup
	@$(RUN)/python -m tests.prepare
	$(RUN)/python -m tests.faults $(PYTEST)

simulate: setup
	@$(RUN)/python -m tests.simulation $(if $(MUTATIONS),--mutations) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(FROM),--from $(FROM)) $(if $(SEED),--seed $(SEED)) $(if $(STORY),--story)

check: setup lint types imports unit

lint:
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .

types:
	$(RUN)/mypy

imports:
	$(RUN)/lint-imports

unit:
	$(RUN)/python -m pytest -q -n 2 -m "not servers and not asterisk and not browser and not stack and not simulation"

bench: setup
	@$(RUN)/python -m bench $(ROW)

soak: setup
	@$(RUN)/python -m bench.soak $(if $(CALLS),--calls $(CALLS)) $(if $(CPS),--cps $(CPS)) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
