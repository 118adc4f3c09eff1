"""A web application that paints: a form hands in a job, a signed webhook says that it has ended.

    HOOK_URL=https://this.example.org/hook flask --app webapp run

Kept tiny: jobs live in a dictionary, where a real one has its database.
"""

import os

from flask import Flask, abort, redirect, render_template_string, request
from werkzeug import Response

from client import Impasto, Job, WebhookError, webhooks

app = Flask(__name__)
impasto = Impasto()
secrets = impasto.webhook_secrets()
#: Each job as it was when a webhook told of it last.
jobs: dict[str, Job] = {}

FORM = """<form method="post" enctype="multipart/form-data">
<label>Picture <input type="file" name="picture" required></label>
<label>Style <input type="file" name="style" required></label>
<button>Paint</button></form>"""
PAGE = """<title>{{ job.status }}</title>
{% if job.status == "succeeded" %}<img src="{{ job.output.url }}" alt="The painting">
{% elif job.error %}<p>{{ job.error.title }}</p>
{% else %}<meta http-equiv="refresh" content="2"><p>{{ job.status }} ...</p>{% endif %}"""


@app.get("/")
def form() -> str:
    """Ask for two pictures."""
    return FORM


@app.post("/")
def submit() -> Response:
    """Hand in a job, and say where it can be seen."""
    picture, style = request.files["picture"].read(), request.files["style"].read()
    hook = {"url": os.environ["HOOK_URL"], "events": ["job.succeeded", "job.failed"]}
    job = impasto.submit(picture, [style], spec={"size": 256}, webhook=hook)
    jobs.setdefault(job.id, job)
    return redirect(f"/jobs/{job.id}", 303)


@app.get("/jobs/<job_id>")
def show(job_id: str) -> str:
    """The painting, or how far it is."""
    if job_id not in jobs:
        abort(404)
    return render_template_string(PAGE, job=jobs[job_id])


@app.post("/hook")
def hook() -> tuple[str, int]:
    """The service tells of a job. Anyone can send something here: only what is signed counts."""
    try:
        event = webhooks.verify(request.headers, request.get_data(), secrets)
    except WebhookError as error:
        return str(error), 400
    job = impasto.get(event.data["id"])
    jobs[job.id] = job
    return "", 204
