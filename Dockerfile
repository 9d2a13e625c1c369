# Two images of the same code: `streamco` for every process of ours, `asterisk` with an Asterisk beside it.
# Checked statically by tests/docs/test_compose.py; not built by the project's tests.

FROM python:3.13-slim AS streamco
WORKDIR /opt/streamco
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
# Compiled here: the user that runs it may not write beside it.
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . && python -m compileall -q . \
    && useradd --system --uid 10001 --home-dir /var/lib/streamco --create-home streamco
USER streamco
ENV STREAMCO_HOME=/var/lib/streamco
VOLUME /var/lib/streamco
CMD ["streamco", "--help"]

FROM debian:sid-slim AS asterisk
RUN apt-get update \
    && apt-get install --yes --no-install-recommends asterisk python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/streamco
COPY requirements.lock .
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
ENV PATH=/opt/venv/bin:$PATH STREAMCO_HOME=/var/lib/streamco
COPY . .
# Compiled here: the user that runs it may not write beside it.
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . && python -m compileall -q . \
    && useradd --system --uid 10001 --home-dir /var/lib/streamco --create-home streamco
USER streamco
VOLUME /var/lib/streamco
CMD ["streamco", "--help"]
