// The page: uploads the pictures, submits a job, follows it, shows the painting. Everything it offers, form
// fields included, it learns from the API.

const $ = (id) => document.getElementById(id);
const BASICS = ["preset", "size", "style_weight", "seed"];
const HIDDEN = ["content_layers", "style_layers"]; // maps; for programs
const JOBS_SHOWN = 12;
const POLL_MS = 1000; // between two polls, where the service does not let them wait
const WAIT = { Prefer: "wait=25" };
const CALM_MS = 250; // after a poll that waited: what changes is shown four times a second at most
const RETRY_MS = 2000; // after a poll that failed

class Problem extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "The service did not answer as expected.");
    this.errors = problem.errors || [];
    this.status = problem.status;
  }
}

async function call(path, options = {}) {
  const token = $("token").value;
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) $("token-row").hidden = false;
  if (response.status === 304) return { response, body: null };
  const body = (response.headers.get("Content-Type") || "").includes("json") ? await response.json() : null;
  if (!response.ok) throw new Problem(body || {});
  return { response, body };
}

async function fetchPicture(path) {
  const token = $("token").value;
  const response = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  return response.ok ? URL.createObjectURL(await response.blob()) : null;
}

// Behind a token a picture cannot be an <img src> by itself: ask where it is. The object store's address is good
// without a token, but not for fetch; the API's own needs the token.
async function pictureUrl(output) {
  const path = pathOf(output);
  if (!$("token").value) return path;
  const { body } = await call(path, { headers: { Accept: "application/json" } });
  return body.url === output ? fetchPicture(path) : body.url;
}

const pathOf = (url) => new URL(url).pathname.replace(/^\//, "");

function inner(schema) {
  return (schema.anyOf || [schema]).find((one) => one.type !== "null") || schema;
}

const byDefault = (value) => `default (${value ?? "auto"})`;

// What a field that is left empty amounts to, as a preset has it. `alpha_beta` takes the place of both weights; the
// style weight is fitted to the size.
function amount(name, spec) {
  const isWeight = ["content_weight", "style_weight"].includes(name);
  if (isWeight && spec.alpha_beta != null) return "from alpha beta";
  if (name === "style_weight" && spec.size) return `${spec[name]} at ${spec.size} px`;
  return spec[name] ?? "";
}

function field(name, schema, defaults) {
  const { enum: choices, type, minimum, maximum } = inner(schema);
  const label = document.createElement("label");
  label.append(name.replaceAll("_", " "));
  let input;
  if (choices) {
    input = document.createElement("select");
    input.append(...choices.map((choice) => new Option(choice, choice)));
    if (name !== "preset") input.prepend(new Option(byDefault(defaults[name]), ""));
    input.value = name === "preset" ? schema.default : "";
  } else {
    input = document.createElement("input");
    input.type = type === "string" ? "text" : "number";
    if (type === "number") input.step = "any";
    if (minimum !== undefined) input.min = minimum;
    if (maximum !== undefined) input.max = maximum;
    input.placeholder = amount(name, defaults);
  }
  input.name = name;
  input.dataset.type = type;
  const help = document.createElement("small");
  help.textContent = schema.description || "";
  label.append(input, help);
  return label;
}

async function buildForm() {
  const [{ body: openapi }, { body: presets }] = await Promise.all([call("openapi.json"), call("v1/presets")]);
  const properties = openapi.components.schemas.SpecRequest.properties;
  const specs = Object.fromEntries(presets.presets.map(({ name, spec }) => [name, spec]));
  const names = Object.keys(properties).filter((name) => !HIDDEN.includes(name));
  const defaults = specs[properties.preset.default] || {};
  const fields = (chosen) => chosen.map((name) => field(name, properties[name], defaults));
  $("basics").replaceChildren(...fields(BASICS));
  $("controls").replaceChildren(...fields(names.filter((name) => !BASICS.includes(name))));
  $("order").elements.preset.addEventListener("change", (event) => {
    const spec = specs[event.target.value] || {};
    for (const [name, value] of Object.entries(spec)) {
      const input = $("order").elements[name];
      if (input && input.tagName === "INPUT") input.placeholder = amount(name, spec);
      if (input && input.tagName === "SELECT") input.options[0].textContent = byDefault(value);
    }
  });
  const { init } = $("order").elements;
  init.addEventListener("change", () => { $("start-row").hidden = init.value !== "picture"; });
}

function readSpec() {
  const spec = {};
  for (const input of $("order").querySelectorAll("[data-type]")) {
    if (input.value !== "") spec[input.name] = input.dataset.type === "string" ? input.value : Number(input.value);
  }
  return spec;
}

function watchDrop(zone, input) {
  const show = () => {
    zone.querySelectorAll("img").forEach((image) => image.remove());
    for (const file of input.files) {
      const image = new Image();
      image.src = URL.createObjectURL(file);
      image.alt = file.name;
      zone.append(image);
    }
    zone.classList.toggle("filled", input.files.length > 0);
  };
  input.addEventListener("change", show);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        input.files = event.dataTransfer.files;
        show();
      }
    });
  }
}

async function upload(file) {
  const form = new FormData();
  form.append("file", file);
  const { body } = await call("v1/uploads", { method: "POST", body: form });
  return body.image;
}

const STATES = {
  fetching: "Bringing the pictures in",
  waiting: "Waiting for a painter",
  painting: "Painting",
  storing: "Storing the picture",
};
let followed = null;

function showJob(job) {
  const { progress, queue } = job;
  $("progress").value = job.status === "succeeded" ? 1 : progress ? progress.fraction : 0;
  let text = STATES[job.stage] || job.status;
  if (queue) text += `, number ${queue.position}`;
  if (progress && job.stage === "painting") text += ` · step ${progress.step} of ${progress.steps}`;
  if (job.error) text = `${job.error.title}: ${job.error.detail}`;
  const seconds = job.metrics && job.metrics.seconds.paint; // none where the painting is another job's
  if (job.status === "succeeded") text = seconds == null ? "Painted before" : `Painted in ${seconds.toFixed(1)} s`;
  $("state").textContent = text;
  $("cancel").hidden = !["queued", "processing"].includes(job.status);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function showPicture(job, previews) {
  if (job.output) {
    const url = await pictureUrl(job.output.url);
    if (!url) throw new Problem({ detail: "The painting could not be loaded." });
    $("picture").src = $("download").href = url;
    $("download").download = `${job.id}.${job.spec.output_format}`;
    $("download").hidden = false;
  } else if (job.stage === "painting" && job.urls.preview) {
    const url = await fetchPicture(`${pathOf(job.urls.preview)}?v=${previews}`);
    if (url) $("picture").src = url;
  }
}

// Polls until the job has ended; each poll waits for a change. A poll that fails is shown and tried again: the job goes on meanwhile.
async function follow(id) {
  followed = id;
  let [etag, ended, failing, waited] = [null, false, false, false];
  for (let polls = 1; !ended; polls += 1) {
    try {
      const headers = etag ? { "If-None-Match": etag, ...WAIT } : {};
      const { response, body: job } = await call(`v1/jobs/${id}`, { headers });
      waited = response.headers.has("Preference-Applied");
      if (followed !== id) return;
      if (failing) showFaults(null);
      failing = false;
      if (job) {
        showJob(job);
        await showPicture(job, polls);
        etag = response.headers.get("ETag");
        ended = !job.stage;
      }
    } catch (problem) {
      if (followed !== id) return;
      if (problem.status === 404) throw problem; // deleted
      showFaults(problem);
      failing = true;
    }
    if (!ended) await pause(failing ? RETRY_MS : waited ? CALM_MS : POLL_MS);
    if (followed !== id) return;
  }
  await showRecent();
}

// crypto.randomUUID is there on https and localhost only.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function paint(event) {
  event.preventDefault();
  showFaults(null);
  const content = $("content").files[0];
  const styles = [...$("style").files];
  if (!content || !styles.length) return showFaults(new Problem({ detail: "Choose a content picture and a style." }));
  const spec = readSpec();
  const start = spec.init === "picture" ? [...$("start").files] : [];
  if (spec.init === "picture" && !start.length) {
    return showFaults(new Problem({ detail: "Choose the picture to start from, or another init." }));
  }
  $("paint").disabled = true;
  try {
    const [image, ...others] = await Promise.all([content, ...styles, ...start].map(upload));
    const request = { content: image, styles: others.slice(0, styles.length), init: others[styles.length], spec };
    const body = JSON.stringify(request); // which leaves out an `init` that is undefined
    const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey() };
    const { body: job } = await call("v1/jobs", { method: "POST", headers, body });
    $("easel").hidden = false;
    $("download").hidden = true;
    $("picture").removeAttribute("src");
    showJob(job);
    $("easel").scrollIntoView({ behavior: "smooth", block: "nearest" });
    follow(job.id).catch(showFaults);
  } catch (problem) {
    showFaults(problem);
  } finally {
    $("paint").disabled = false;
  }
}

function showFaults(problem) {
  const lines = problem ? (problem.errors || []).map(({ pointer, detail }) => `${pointer}: ${detail}`) : [];
  if (problem && !lines.length) lines.push(problem.message);
  $("faults").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  $("faults").hidden = !lines.length;
}

async function showRecent() {
  const { body } = await call(`v1/jobs?status=succeeded&limit=${JOBS_SHOWN}`);
  const items = await Promise.all(body.jobs.map(async (job) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const image = new Image();
    image.loading = "lazy";
    image.alt = `Painting of ${job.created_at}`;
    const url = job.output && await pictureUrl(job.output.url).catch(() => null); // deleted meanwhile
    if (url) image.src = link.href = url;
    link.append(image);
    item.append(link);
    return item;
  }));
  $("jobs").replaceChildren(...items);
  $("recent").hidden = !items.length;
}

// Behind a token nothing can be learnt before it is typed, so this happens again then.
async function start() {
  showFaults(null);
  try {
    if (!$("basics").children.length) await buildForm();
    await showRecent();
  } catch (problem) {
    showFaults(problem);
  }
}

async function cancel() {
  try {
    await call(`v1/jobs/${followed}/cancel`, { method: "POST" });
  } catch (problem) {
    showFaults(problem);
  }
}

watchDrop($("content-drop"), $("content"));
watchDrop($("style-drop"), $("style"));
$("order").addEventListener("submit", paint);
$("cancel").addEventListener("click", cancel);
$("token").addEventListener("change", start);
start();
