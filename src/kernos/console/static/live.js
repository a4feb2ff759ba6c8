// Keeps a page true without reloading it. The stream says what changed; the page asks for itself again and is patched in place.
import { morph } from "./morph.js";

const LEAST_PAUSE_MS = 1000; // between two refreshes
const LEAST_SILENCE_MS = 5000; // between two spoken sentences
const COPIED_MS = 1600;

const main = document.getElementById("main");
const panel = document.getElementById("updates");
const word = document.getElementById("updates-word");
const pause = document.getElementById("updates-pause");

document.documentElement.classList.add("js");

class Voice {
  constructor(place) {
    this.place = place;
    this.spokenAt = -Infinity;
    this.timer = 0;
  }

  /** Speak `text`, at most once in LEAST_SILENCE_MS; of what comes in between, the last. */
  say(text) {
    this.text = text;
    const wait = this.spokenAt + LEAST_SILENCE_MS - performance.now();
    if (wait <= 0) this.speak();
    else if (!this.timer) this.timer = setTimeout(() => this.speak(), wait);
  }

  speak() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.spokenAt = performance.now();
    this.place.textContent = this.text;
  }

  hush() {
    clearTimeout(this.timer);
    this.timer = 0;
  }
}

class Live {
  constructor(voice) {
    this.voice = voice;
    this.paused = sessionStorage.getItem("kernos-paused") === "yes";
    this.dirty = false;
    this.busy = false;
    this.refreshedAt = -Infinity;
    this.timer = 0;
  }

  start() {
    panel.hidden = false;
    pause.addEventListener("click", () => this.toggle());
    document.addEventListener("visibilitychange", () => this.soon());
    this.stream = new EventSource(`/console/stream?after=${main.dataset.seq}`);
    this.stream.addEventListener("open", () => this.show());
    this.stream.addEventListener("error", () => this.show());
    this.stream.addEventListener("message", (message) => this.hear(JSON.parse(message.data).topics));
    addEventListener("pagehide", () => this.stream.close());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    this.show();
  }

  hear(topics) {
    const mine = main.dataset.topics.split(" ");
    if (!topics.some((topic) => mine.includes(topic))) return;
    this.dirty = true;
    this.show();
    this.soon();
  }

  toggle() {
    this.paused = !this.paused;
    sessionStorage.setItem("kernos-paused", this.paused ? "yes" : "no");
    if (this.paused) this.voice.hush();
    this.show();
    this.soon();
  }

  soon() {
    if (!this.dirty || this.paused || this.busy || this.timer || document.hidden) return;
    const wait = Math.max(0, this.refreshedAt + LEAST_PAUSE_MS - performance.now());
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.refresh();
    }, wait);
  }

  async refresh() {
    if (this.paused || this.busy) return;
    this.busy = true;
    this.dirty = false;
    this.refreshedAt = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, credentials: "same-origin" });
      if (answer.status === 401) return this.end("Signed out: reload");
      if (!answer.ok) return this.show(`Update failed (${answer.status})`);
      const text = await answer.text();
      if (!this.paused) this.patch(text);
      this.show();
    } catch {
      this.show("Kernel does not answer");
    } finally {
      this.busy = false;
      this.soon();
    }
  }

  patch(text) {
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!next) return;
    const said = main.dataset.said;
    const focused = document.activeElement;
    const tails = [...main.querySelectorAll("[data-tail]")].filter(atEnd);
    morph(main, next);
    for (const tail of tails) toEnd(tail);
    if (focused && focused !== document.body && !focused.isConnected) main.focus({ preventScroll: true });
    if (main.dataset.said && main.dataset.said !== said) this.voice.say(main.dataset.said);
    document.dispatchEvent(new CustomEvent("kernos:patched"));
  }

  end(text) {
    this.stream.close();
    this.show(text);
    this.dirty = false;
  }

  show(trouble = "") {
    const open = this.stream.readyState === EventSource.OPEN;
    const waiting = this.dirty ? ", changes wait" : "";
    const text = trouble || (this.paused ? `Paused${waiting}` : open ? "Live" : "Connecting");
    if (word.textContent !== text) word.textContent = text;
    panel.classList.toggle("is-live", open && !this.paused && !trouble);
    panel.classList.toggle("is-paused", this.paused);
    pause.setAttribute("aria-pressed", String(this.paused));
  }
}

function atEnd(node) {
  return node.scrollTop + node.clientHeight >= node.scrollHeight - 4;
}

function toEnd(node) {
  node.scrollTop = node.scrollHeight;
}

async function copy(button, voice) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    voice.say("Selected: press Control C to copy.");
    return;
  }
  button.classList.add("is-copied");
  voice.say("Copied.");
  setTimeout(() => button.classList.remove("is-copied"), COPIED_MS);
}

const voice = new Voice(document.getElementById("spoken"));
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button, voice);
});
for (const tail of document.querySelectorAll("[data-tail]")) toEnd(tail);
if (main.dataset.topics) new Live(voice).start();
