/* Talking to the server: plain requests, each of which may fail and be tried again. */
"use strict";
(teach => {
  const FIRST_WAIT_MS = 1000,
    LONGEST_WAIT_MS = 60_000,
    PATIENCE_MS = { look: 600_000, compare: 600_000, own: 300_000 }, // a model may take its time, and so may an upload
    USUAL_PATIENCE_MS = 90_000;

  /* The server refused; the sentence is for the user. */
  teach.Refusal = class Refusal extends Error {};
  /* There was no answer, or the server cannot do it now: it may be tried again. `words` are the server's, if it said any. */
  teach.NoAnswer = class NoAnswer extends Error {
    constructor(text, words = "") {
      super(text);
      this.words = words;
    }
  };

  /* What the server says to one question. */
  teach.ask = async (server, name, values = {}) => {
    const late = new Promise(done => setTimeout(() => done(undefined), PATIENCE_MS[name] ?? USUAL_PATIENCE_MS));
    let answer;
    try {
      answer = await Promise.race([server[`teach_${name}`](values), late]);
    } catch {
      answer = undefined;
    }
    if (typeof answer?.error === "string")
      throw answer.later ? new teach.NoAnswer(answer.error, answer.error) : new teach.Refusal(answer.error);
    if (answer?.ok === undefined) throw new teach.NoAnswer("The server gave no answer. Nothing is lost; try again in a moment.");
    return answer.ok;
  };

  /* The full address of a file of the server, wherever the page is mounted. */
  teach.addressOf = url => new URL(url, `${globalThis.gradio_config?.root ?? location.origin}/`).href;

  /* Sends what lies in the outbox until it is stored, at once and with growing waits, and when the connection is back.

     on.state(submission_id, state, details): "sending", "waiting" ({ seconds, words }), "stored" ({ receipt }) or "refused" ({ words }). */
  teach.Outbox = class Outbox {
    constructor(server, on) {
      Object.assign(this, { server, on, timers: new Map(), failures: new Map(), busy: new Set() });
      addEventListener("online", () => this.flush());
    }

    flush() {
      for (const sent of teach.keep.waiting(this.person)) this.send(sent);
    }

    /* Whether everything is stored now. */
    async empty() {
      for (const sent of teach.keep.waiting(this.person)) await this.send(sent);
      return !teach.keep.waiting(this.person).length;
    }

    async send(sent) {
      const id = sent.submission_id;
      clearTimeout(this.timers.get(id));
      if (this.busy.has(id)) return;
      this.busy.add(id);
      this.on.state(id, "sending", {});
      try {
        const receipt = await teach.ask(this.server, "submit", sent);
        teach.keep.posted(sent);
        this.failures.delete(id);
        this.on.state(id, "stored", { receipt, sent });
      } catch (error) {
        if (error instanceof teach.Refusal) {
          teach.keep.posted(sent); // the draft still holds it all
          this.on.state(id, "refused", { words: error.message, sent });
        } else {
          const failures = this.failures.get(id) ?? 0,
            wait_ms = Math.min(FIRST_WAIT_MS * 2 ** failures, LONGEST_WAIT_MS);
          this.failures.set(id, failures + 1);
          this.timers.set(id, setTimeout(() => this.send(sent), wait_ms));
          this.on.state(id, "waiting", { seconds: Math.round(wait_ms / 1000), words: error.words ?? "", sent });
        }
      } finally {
        this.busy.delete(id);
      }
    }
  };
})((globalThis.GazeTeach ??= {}));
