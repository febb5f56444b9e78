/* What the Diagnose tab does in the browser: files that are dropped or pasted anywhere, and when a question may be asked. */
"use strict";
(page => {
  const POLL_MS = 50,
    PATIENCE_MS = 10_000,
    SETTINGS = "#ask :is(input, select, textarea):not(#question textarea)",
    stale = new Set(), // what has changed since the answer: "question", "settings"
    find = selector => document.querySelector(selector),
    visible = () => Boolean(find("#upload")?.offsetParent),
    question = () => find("#question textarea")?.value.trim() ?? "";

  /* Do something as soon as it can be done; `act` says whether it was. */
  function soon(act, whileTrue = () => true) {
    const latest = performance.now() + PATIENCE_MS;
    const again = () => {
      if (whileTrue() && !act() && performance.now() < latest) setTimeout(again, POLL_MS);
    };
    again();
  }

  const ask = (page.GazeAsk = {
    sending: false, // a file is on its way to the server, and about to replace the image
    images: 0, // how often another image was chosen
    asked: "", // the question of the answer that is shown

    /* Another image is being loaded; the server has its file. */
    loading() {
      this.sending = false;
      if (find("#upload [aria-label='Clear'], #upload .file-preview")) mark(null);
      this.images += 1;
      this.fresh("");
    },

    /* An answer begins. */
    begin() {
      this.fresh(question());
      if (innerWidth < 1000) find("#result").scrollIntoView({ behavior: "smooth" });
    },

    /* Press Diagnose once it is on and `also` holds; not if another image was chosen meanwhile. */
    whenReady(also = () => true) {
      const { images } = this;
      soon(
        () => {
          const button = also() ? find("#diagnose:enabled") : null;
          button?.click();
          return Boolean(button);
        },
        () => images === this.images,
      );
    },

    /* The page was opened by a link: answer as soon as its image is here, unless an answer is. */
    asLinked() {
      if (location.search && !find("#asked .gaze-asked"))
        this.whenReady(() => find("#viewer .gaze-viewer")?.viewer?.value.image);
    },

    /* The archive is ready: hand it over. */
    save() {
      soon(() => {
        const link = find("#files a[download]");
        link?.click();
        return Boolean(link);
      });
    },

    /* What is asked has not changed since the answer. */
    fresh(asked) {
      this.asked = asked;
      stale.clear();
      find("#story")?.classList.remove("gaze-stale");
    },

    /* Another model is chosen, of which the page's own events say nothing. */
    outdate: () => outdated("settings"),

    /* A file begins to be sent: nothing about the present image is worth waiting for. */
    send() {
      this.sending = true;
      soon(
        () => {
          find("#stop:enabled")?.click();
          return !this.sending || (!find("#upload .uploading, #upload .progress-bar, #upload progress") && this.gaveUp());
        },
        () => this.sending,
      );
    },

    /* Whether the file has been neither on its way nor here for a second: it was refused. */
    gaveUp() {
      this.idle = (this.idle ?? 0) + POLL_MS;
      if (this.idle < 1000) return false;
      [this.idle, this.sending] = [0, false];
      return true;
    },
  });

  // ---- files ----------------------------------------------------------------------------------------------------------
  /* A pasted image, or one that is dropped anywhere on the desk, goes where a chosen one goes. */
  function take(file) {
    const give = () => {
      const input = find("#upload input[type=file]");
      if (!input) return false;
      const files = new DataTransfer();
      files.items.add(file);
      input.files = files.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
      return true;
    };
    if (give()) return;
    // The place is taken by an earlier file, which has to leave first. Its going empties the page, and whatever came
    // before that would go with it.
    find("#upload button[aria-label='Clear'], #upload button[aria-label='Remove']")?.click();
    const emptied = () => !find("#viewer .gaze-viewer")?.viewer?.value.image,
      latest = performance.now() + PATIENCE_MS;
    soon(() => (emptied() || performance.now() > latest) && give());
  }
  document.addEventListener("paste", event => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file || !visible()) return;
    event.preventDefault();
    take(file);
  });
  const overDesk = event => visible() && event.target.closest?.("#desk") && !event.target.closest("#upload");
  document.addEventListener("dragover", event => {
    if (overDesk(event) && [...event.dataTransfer.types].includes("Files")) event.preventDefault();
  });
  document.addEventListener("drop", event => {
    const [file] = event.dataTransfer?.files ?? [];
    if (event.target.closest?.("#upload") && file) ask.send();
    if (!file || !overDesk(event)) return;
    event.preventDefault();
    take(file);
  });
  document.addEventListener(
    "change",
    event => {
      if (event.target.matches?.("#upload input[type=file]") && event.target.files.length) ask.send();
      if (event.target.matches?.(SETTINGS)) outdated("settings");
    },
    true,
  );

  // ---- the question -----------------------------------------------------------------------------------------------------
  /* While a file is on its way, what is asked would be about the image before it. */
  document.addEventListener(
    "click",
    event => {
      if (!ask.sending || !event.target.closest?.("#diagnose")) return;
      event.stopImmediatePropagation();
      event.preventDefault();
    },
    true,
  );
  /* An answer to something else than what the form asks now is dimmed: for another question until it is the same again,
     for other settings until the next answer. */
  function outdated(why, is = true) {
    if (is) stale.add(why);
    else stale.delete(why);
    find("#story").classList.toggle("gaze-stale", stale.size > 0 && Boolean(find("#asked .gaze-asked")));
  }
  document.addEventListener("input", event => {
    if (event.target.matches?.("#question textarea")) {
      const asked = ask.asked || find("#asked .gaze-asked b")?.textContent;
      outdated("question", question() !== asked);
    } else if (event.target.matches?.(SETTINGS)) outdated("settings");
  });

  // ---- the examples: one stop for the Tab key, arrows go on -------------------------------------------------------------
  const thumbnails = () => [...document.querySelectorAll("#examples .thumbnail-item")];
  function mark(chosen) {
    thumbnails().forEach(one => one.classList.toggle("gaze-chosen", one === chosen));
  }
  function rove(chosen) {
    thumbnails().forEach(one => (one.tabIndex = one === chosen ? 0 : -1));
  }
  document.addEventListener("focusin", event => {
    if (event.target.matches?.("#examples .thumbnail-item")) rove(event.target);
  });
  document.addEventListener("click", event => {
    const chosen = event.target.closest?.("#examples .thumbnail-item");
    if (chosen) mark(chosen);
  });
  document.addEventListener("keydown", event => {
    const all = thumbnails(),
      at = all.indexOf(event.target),
      by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !by) return;
    event.preventDefault();
    all[Math.min(Math.max(at + by, 0), all.length - 1)].focus();
  });
  /* Gradio calls them "Thumbnail 3 of 34". */
  function name(all) {
    all.forEach(one => one.setAttribute("aria-label", one.querySelector(".caption-label")?.textContent.trim() ?? ""));
  }
  new MutationObserver(() => {
    const all = thumbnails();
    if (all.length && all.filter(one => one.tabIndex === 0).length !== 1) rove(all[0]);
    if (all.some(one => one.ariaLabel?.startsWith("Thumbnail"))) name(all);
  }).observe(document, { childList: true, subtree: true });
})(globalThis);
