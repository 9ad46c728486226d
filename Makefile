# The commands of the README. The virtual environment is made here; nothing goes into the system's Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STACK ?= embedded
WORKERS ?= 3
CLUSTER_API_BIN = $(or $(BEX_CACHE),$(HOME)/.cache/bex)/cluster-api/v1.14.2/bin

# The toolchain's Go: what is on PATH if it is new enough, else the pinned one, put into the cache.
GO = $$($(abspath $(BIN))/python -c 'from bex_stack.embedded import golang; print(golang.find_or_install(golang.default_cache()).program)')

# Cluster API's managers, each under a name of its own; Go's cache makes it seconds the second time.
define build_managers
cd tools/cluster-api && for each in core=core kubeadm-bootstrap=bootstrap/kubeadm kubeadm-control-plane=controlplane/kubeadm docker=test/infrastructure/docker; do \
		GOFLAGS=-mod=readonly CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -gcflags=all=-dwarf=false -o "$(CLUSTER_API_BIN)/$${each%%=*}-manager" "sigs.k8s.io/cluster-api/$${each#*=}" || exit 1; done
endef

.PHONY: up destroy test check check-builds check-registry check-caph check-zot check-cli check-capi check-certificates cluster-api test-local bench bench-operator bench-builds bench-pushes faults mutants soak lock venv clean
.DEFAULT_GOAL := up

venv: $(VENV)/.ready

$(VENV)/.ready: requirements/runtime.lock requirements/dev.lock pyproject.toml operator/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bex needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install -y python3-venv"; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.lock -r requirements/dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . --editable operator
	@touch $@

up: venv ## Bring the stack up and print where its apps answer.
	@$(BIN)/bex up --stack $(STACK) --yes

destroy: venv ## Take everything down again.
	@$(BIN)/bex destroy --stack $(STACK) --yes

check: venv ## Lint, types, import rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: venv ## The whole suite, on clusters of its own.
	@$(BIN)/bex setup --yes
	$(BIN)/pytest --numprocesses $(WORKERS) --no-loadscope-reorder

# In an environment of its own, as the CLI wants it: CrossGuard's package needs another protobuf.
policy: policy/.venv/.ready ## Prepare the policy pack: pulumi preview --policy-pack policy

policy/.venv/.ready: policy/requirements.lock
	@$(PYTHON) -m venv policy/.venv
	@policy/.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r policy/requirements.lock
	@touch $@

check-policy: venv policy ## The policy pack in its own environment, asked as the CLI asks.
	$(BIN)/pytest --durations=0 tests/policy/check_pack.py

check-caph: venv ## The hetzner overlay against CAPH's own definitions: make check-caph CRDS=DIR
	@test -n "$(CRDS)" || { echo "name the folder with CAPH's definitions: make check-caph CRDS=DIR"; exit 2; }
	CRDS=$(abspath $(CRDS)) $(BIN)/pytest --durations=0 tests/caph/check_caph.py

check-zot: venv ## The registry of local and hetzner as it is configured, in a real Zot: make check-zot ZOT=PROGRAM
	@test -n "$(ZOT)" || { echo "name Zot's program: make check-zot ZOT=PROGRAM"; exit 2; }
	ZOT=$(abspath $(ZOT)) $(BIN)/pytest --durations=0 tests/zot/check_zot.py

check-builds: venv ## Go, Python and Node projects from git, with a Dockerfile, without, and by buildpacks, on images made here.
	@$(BIN)/bex setup --yes
	$(BIN)/pytest --durations=0 -s tests/languages/check_*.py

check-registry: venv ## A registry's lives of thousands of pushes, deploys, rollbacks and collections, one for each seed (SEEDS="1 2 3" ACTIONS=3000).
	@$(BIN)/bex setup --yes
	BEX_REGISTRY_ACTIONS=$(or $(ACTIONS),3000) BEX_REGISTRY_SEEDS="$(or $(SEEDS),1)" $(BIN)/pytest -s --timeout 0 tests/integration/test_registry_collection.py

check-cli: venv ## A Pulumi CLI and the engine take turns on one stack: make check-cli PULUMI=PATH
	@test -x "$(PULUMI)" || { echo "name the CLI, its Python language host beside it: make check-cli PULUMI=PATH"; exit 2; }
	PULUMI=$(abspath $(PULUMI)) $(BIN)/pytest --durations=0 tests/real_cli/check_cli.py

cluster-api: venv ## Build kind and clusterctl from the pinned modules, for the stack `local`.
	cd tools/cluster-api && GOFLAGS=-mod=readonly CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -gcflags=all=-dwarf=false -o $(CLUSTER_API_BIN)/ sigs.k8s.io/kind sigs.k8s.io/cluster-api/cmd/clusterctl

check-capi: cluster-api ## Both overlays against Cluster API's managers, and clusterctl from a mirror, built from their modules.
	$(build_managers)
	$(BIN)/pytest --durations=0 tests/capi/check_webhooks.py tests/capi/check_clusterctl.py

check-certificates: venv ## Certificates of hosts with cert-manager's own controllers, built from its module.
	cd tools/cert-manager && GOFLAGS=-mod=readonly CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CLUSTER_API_BIN)/cert-manager .
	CERT_MANAGER=$(CLUSTER_API_BIN)/cert-manager $(BIN)/pytest --durations=0 tests/certificates/check_certificates.py

# Root, Linux, and package registries only: Docker Engine is installed where it is missing.
test-local: venv ## The stack `local` for real, on a Docker Engine of the test's own; the first time builds much.
	cd tools/cluster-api && GOFLAGS=-mod=readonly CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(CLUSTER_API_BIN)/ sigs.k8s.io/kind
	$(build_managers)
	$(BIN)/pytest --durations=0 tests/local/check_local.py

bench: venv ## Ratios within one run; prints a table.
	@$(BIN)/bex setup --yes
	$(BIN)/python -m bench.previews
	$(BIN)/python -m bench

bench-operator: venv ## The operator against peers in Go and on Kopf; prints a table. The first time builds the Go peer.
	@$(BIN)/bex setup --yes
	$(BIN)/python -m bench.operator work
	$(BIN)/python -m bench.operator newcomer
	$(BIN)/python -m bench.operator flood
	$(BIN)/python -m bench.operator path
	$(BIN)/python -m bench.operator limits

bench-builds: venv ## How soon a push becomes a Job, and whether tenants share the room fairly; prints both.
	@$(BIN)/bex setup --yes
	$(BIN)/python -m bench.builds

bench-pushes: venv ## From a git push to the answer on a stack of its own, step by step, against clone, buildctl and rollout by hand.
	@$(BIN)/bex setup --yes
	$(BIN)/python -m bench.pushes

faults: venv ## The operator under every single fault at every place, and under random plans of faults: 1,500 lives, an hour or more (STRIDE=10 PLANS=50: minutes; SEED=7 draws other plans; TRIAL="life, 1 leaders: crash 7" lives one again).
	@$(BIN)/bex setup --yes
	BEX_FAULT_STRIDE=$(or $(STRIDE),1) BEX_FAULT_PLANS=$(or $(PLANS),300) BEX_FAULT_SEED=$(or $(SEED),1) BEX_FAULT_TRIAL="$(TRIAL)" \
		$(BIN)/pytest --timeout 0 --numprocesses $(or $(SWEEPS),2) --capture=no --no-loadscope-reorder -m "" tests/integration/test_operator_faults.py $(if $(TRIAL),-k any_plan)

soak: venv ## Lives under faults, each with a minute without a single write at its end (PLANS=300: half an hour), and 5,000 drawn Apps that model and API server take or refuse alike.
	@$(BIN)/bex setup --yes
	BEX_FAULT_QUIET_SECONDS=60 BEX_FAULT_PLANS=$(or $(PLANS),50) BEX_DRAWN_APPS=5000 \
		$(BIN)/pytest --timeout 0 --numprocesses 2 -m "" -k "not each_trouble_alone" tests/integration/test_operator_faults.py tests/integration/test_crd.py

# In an environment of its own, and on a copy: `mutmut` rewrites what it tests. It goes on where it was interrupted.
mutants: venv ## Change the operator's decisions in small ways; unit tests must notice (half an hour; SAMPLE=400: a minute).
	@test -x $(VENV)/mutants/bin/python || $(PYTHON) -m venv $(VENV)/mutants
	@$(VENV)/mutants/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/mutants.lock
	$(BIN)/python -m bench.mutants $(VENV)/mutants/work --python $(abspath $(VENV)/mutants/bin/python) $(if $(SAMPLE),--sample $(SAMPLE))

lock: venv ## Lock the dependencies again after editing requirements/*.in.
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/runtime.in -o requirements/runtime.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/dev.in -o requirements/dev.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/operator.in -o requirements/operator.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate bench/operator/kopf.in -o bench/operator/kopf.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/mutants.in -o requirements/mutants.lock
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate policy/requirements.txt -o policy/requirements.lock

clean: ## Remove the virtual environment and caches of the tools (not the toolchain cache).
	rm -rf $(VENV) policy/.venv .mypy_cache .ruff_cache .pytest_cache
