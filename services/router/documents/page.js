// Shows the OpenAPI document of this server and sends requests to it. Everything is put in as text, never as markup.
"use strict";

const base = new URL(".", document.baseURI);
let api;

// An element with these properties and children; text children are text.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Text in which `this` is code.
function prose(tag, text) {
  return make(tag, {}, ...text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part)));
}

// The schema that a reference leads to.
function resolved(schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((part, name) => part[name], api);
}

// What a schema allows, in a few words.
function typeWords(schema) {
  const found = resolved(schema);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.filter((value) => value !== null).map((value) => JSON.stringify(value)).join(" | ");
  if (found.anyOf) return found.anyOf.map(typeWords).filter(Boolean).join(" | ");
  const types = [found.type || "any"].flat().filter((type) => type !== "null");
  const words = types.join(" | ");
  return types.length === 1 && types[0] === "array" && found.items ? `list of ${typeWords(found.items)}` : words;
}

// A value to begin with: defaults, and something for what is required.
function example(schema) {
  const found = resolved(schema);
  if (found.default !== undefined) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  if (found.anyOf) return example(found.anyOf[0]);
  switch ([found.type].flat()[0]) {
    case "object": {
      const required = (found.required || []).filter((name) => found.properties && name in found.properties);
      const given = Object.entries(found.properties || {}).filter(
        ([name, part]) => required.includes(name) || name === "input" || (found.title === undefined && resolved(part).default !== undefined));
      return Object.fromEntries(given.map(([name, part]) => [name, example(part)]));
    }
    case "array": return found.minItems ? [example(found.items)] : [];
    case "integer": case "number": return found.minimum ?? 1;
    case "boolean": return false;
    case "string": return "Hello";
    default: return null;
  }
}

function propertiesTable(schema) {
  const found = resolved(schema);
  const rows = Object.entries(found.properties || {}).map(([name, part]) => {
    const own = resolved(part);
    const required = (found.required || []).includes(name);
    const notes = [own.description, own.default !== undefined ? `Default: ${JSON.stringify(own.default)}` : null];
    return make("tr", {},
      make("td", {}, make("code", {}, name), required ? make("span", { className: "required", title: "required" }, " *") : null),
      make("td", {}, typeWords(part)),
      prose("td", notes.filter(Boolean).join(" ")));
  });
  if (!rows.length) return null;
  const head = make("tr", {}, ...["Name", "Type", ""].map((text) => make("th", {}, text)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

// What can be sent: for a choice of workflows one entry each.
function choices(operation) {
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  if (!content) return [];
  const found = resolved(content.schema);
  return (found.anyOf || [found]).map(resolved);
}

function requestPart(operation) {
  const bodies = choices(operation);
  if (!bodies.length) return { elements: [], read: () => undefined };
  const text = make("textarea", { spellcheck: false });
  const about = make("div");
  const show = (schema) => {
    text.value = JSON.stringify(example(schema), null, 2);
    const input = resolved(schema).properties?.input;
    const inputs = input && propertiesTable(input);
    about.replaceChildren(
      ...[schema.description ? prose("p", schema.description) : null,
        inputs ? make("h3", {}, "Inputs") : null, inputs,
        make("h3", {}, "Body"), propertiesTable(schema)].filter(Boolean));
  };
  const select = make("select");
  bodies.forEach((schema, index) => select.append(make("option", { value: index }, schema.title || "JSON")));
  select.addEventListener("change", () => show(bodies[select.value]));
  show(bodies[0]);
  const chooser = bodies.length > 1 ? make("label", {}, "Workflow", select) : null;
  return { elements: [chooser, about, make("label", {}, "Request", text)].filter(Boolean), read: () => text.value };
}

function parameterFields(operation) {
  return (operation.parameters || []).map((parameter) => {
    const boolean = parameter.schema.type === "boolean";
    const field = make("input", { type: boolean ? "checkbox" : "text", required: parameter.required || false });
    const title = make("span", {}, parameter.name + (parameter.required ? " *" : ""));
    if (parameter.description) title.append(": ", prose("span", parameter.description));
    const label = boolean ? make("label", { className: "check" }, field, title) : make("label", {}, title, field);
    return { parameter, field, label, value: () => (boolean ? (field.checked ? "true" : "") : field.value) };
  });
}

function answersTable(operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => {
    const kinds = Object.entries(answer.content || {}).map(([kind, part]) => {
      const name = part.schema.$ref ? ` ${part.schema.$ref.split("/").pop()}` : "";
      return kind + name;
    });
    return make("tr", {}, make("td", {}, make("code", {}, status)), make("td", {}, answer.description), make("td", {}, kinds.join(", ")));
  });
  return make("details", {}, make("summary", {}, "Answers"), make("table", {}, make("tbody", {}, ...rows)));
}

function shown(text, type) {
  if (!type.includes("json")) return text;
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function operationElement(path, method, operation) {
  const fields = parameterFields(operation);
  const request = requestPart(operation);
  const streams = operation.responses["200"]?.content?.["text/event-stream"];
  const stream = streams ? make("input", { type: "checkbox" }) : null;
  const send = make("button", { type: "button" }, "Send");
  const stop = make("button", { type: "button", className: "quiet", disabled: true }, "Stop");
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const answer = make("pre", { hidden: true });
  let running = null;

  async function go() {
    let address = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, value } of fields) {
      const given = value();
      if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(given));
      else if (given && parameter.in === "query") query.set(parameter.name, given);
      else if (given && parameter.in === "header") headers[parameter.name] = given;
    }
    const body = request.read();
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (stream?.checked) headers.Accept = "text/event-stream";
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    answer.hidden = false;
    answer.textContent = "";
    status.textContent = "Waiting ...";
    const began = performance.now();
    try {
      const target = new URL(address.slice(1) + (query.size ? `?${query}` : ""), base);
      const response = await fetch(target, { method: method.toUpperCase(), headers, body, signal: running.signal });
      const type = response.headers.get("Content-Type") || "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        text += part.value;
        answer.textContent = text;
      }
      answer.textContent = shown(text, type);
      const seconds = ((performance.now() - began) / 1000).toFixed(2);
      status.textContent = `${response.status} in ${seconds} s, request ${response.headers.get("X-Request-Id")}`;
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "Stopped." : "The server does not answer.";
    }
    send.disabled = false;
    stop.disabled = true;
  }

  send.addEventListener("click", go);
  stop.addEventListener("click", () => running?.abort());
  const paragraphs = (operation.description || "").split("\n\n").filter(Boolean).map((text) => prose("p", text));
  const streamLabel = stream ? make("label", { className: "check" }, stream, "as a stream of events") : null;
  return make("details", { className: "operation" },
    make("summary", {}, make("span", { className: "method" }, method.toUpperCase()),
      make("span", { className: "path" }, path), make("span", { className: "summary" }, operation.summary)),
    make("div", { className: "body" }, ...paragraphs, ...fields.map(({ label }) => label), ...request.elements,
      streamLabel, make("p", {}, send, stop), status, answer, answersTable(operation)));
}

async function start() {
  const operations = document.getElementById("operations");
  try {
    const response = await fetch(new URL("openapi.json", base));
    if (!response.ok) throw new Error();
    api = await response.json();
  } catch {
    operations.replaceChildren(make("p", { role: "alert" }, "The description cannot be read."));
    return;
  }
  document.title = `${api.info.title} API`;
  document.getElementById("title").textContent = document.title;
  document.getElementById("about").replaceWith(prose("p", api.info.description));
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationElement(path, method, operation));
    }
  }
  operations.replaceChildren(...[...groups].map(([tag, elements]) => make("section", {}, make("h2", {}, tag), ...elements)));
  operations.querySelector("details").open = true;
}

start();
