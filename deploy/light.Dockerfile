# API, intake and chores: the service without torch. The command says which of them a container is.
#
#   docker build -f deploy/light.Dockerfile -t impasto-light .
ARG PYTHON_IMAGE=python:3.11-slim

# What the dependencies hang on: not the tables of the tools.
FROM ${PYTHON_IMAGE} AS project
WORKDIR /project
COPY pyproject.toml constraints.txt ./
RUN sed -i '/^\[tool\./,$d' pyproject.toml && touch README.md LICENSE

# Dependencies in a layer of their own, by way of an empty package: a change of source does not install them again.
FROM ${PYTHON_IMAGE} AS dependencies
# Another package index than pip's own, where one is needed.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/impasto/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY --from=project /project ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/impasto \
 && pip install -c constraints.txt '.[api,client,intake]' \
 && pip uninstall -y impasto

FROM dependencies AS wheel
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="Impasto without torch" \
      org.opencontainers.image.description="API, intake and chores of a neural style transfer service" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A new volume takes its owner from the folder that it is mounted on.
RUN install -d -o 10001 -g 10001 /var/lib/impasto /var/lib/impasto/objects /var/lib/impasto/weights
COPY --from=dependencies /opt/impasto /opt/impasto
ENV PATH=/opt/impasto/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    IMPASTO_DATA_DIR=/var/lib/impasto IMPASTO_API_HOST=0.0.0.0
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --disable-pip-version-check /wheels/*.whl
WORKDIR /var/lib/impasto
USER 10001:10001
EXPOSE 8000
# For the API; `python -m worker.health intake` or `chores` is the check of the others.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=8)"]
CMD ["gunicorn", "-c", "python:api.gunicorn", "api.app:from_environment()"]
