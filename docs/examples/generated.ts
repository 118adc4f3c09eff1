// A job end to end with types that openapi-typescript has made of the OpenAPI document (see README.md).
//   node generated.js bridge.jpg starry.jpg painting.png
import { randomUUID } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import createClient from "openapi-fetch";
import type { components, paths } from "./impasto.js";

type Job = components["schemas"]["JobView"];

const token = process.env.IMPASTO_TOKEN;
const impasto = createClient<paths>({
  baseUrl: process.env.IMPASTO_URL ?? "http://127.0.0.1:8000",
  headers: token ? { Authorization: `Bearer ${token}` } : {},
});

async function upload(path: string): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([new Uint8Array(await readFile(path))]), basename(path));
  const { data, error } = await impasto.POST("/v1/uploads", {
    body: { file: [] },
    bodySerializer: () => form,
  });
  if (error) throw new Error(error.detail);
  return "image" in data ? data.image : data.uploads[0].image;
}

async function ended(id: string): Promise<Job> {
  for (;;) {
    const { data, error } = await impasto.GET("/v1/jobs/{id}", {
      params: { path: { id }, header: { Prefer: "wait=30" } },
    });
    if (error) throw new Error(error.detail);
    if (data && data.status !== "queued" && data.status !== "processing") return data;
  }
}

const [content, style, painting] = process.argv.slice(2);
const { data: accepted, error } = await impasto.POST("/v1/jobs", {
  params: { header: { "Idempotency-Key": randomUUID() } },
  body: {
    content: await upload(content),
    styles: [await upload(style)],
    spec: { preset: "fast", size: 64, steps: 5 },
  },
});
if (error) throw new Error(error.errors?.map((fault) => `${fault.pointer}: ${fault.detail}`).join("\n"));
const job = await ended(accepted.id);
if (job.status !== "succeeded" || !job.output) throw new Error(job.error?.detail ?? job.status);
const picture = await fetch(job.output.url, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
await writeFile(painting, Buffer.from(await picture.arrayBuffer()));
console.log(painting);
