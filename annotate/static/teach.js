/* Teach: from the start panel to an image, to its submission, and on to the next. `GazeTeach.mount` puts it into a page. */
"use strict";
(teach => {
  const TICK_MS = 1000,
    SAVE_MS = 2000,
    GRID_AGAIN_MS = 10_000,
    DRAFT_VERSION = 1,
    DRAFT_BACK = "You have begun this image before: your draft is back.";
  const make = (...parts) => globalThis.GazeViewer.make(...parts);

  teach.App = class App {
    constructor(root, { server, upload }) {
      Object.assign(this, { root, server, upload, work: null, desk: null, welcome: null, grids: new Map() });
      const linked = new URLSearchParams(location.search).get("project");
      this.project = linked ?? teach.keep.choices.project ?? null; // its short name; null for the first one that is open
      if (linked) document.querySelector("#teach-tab-button[role=tab]")?.click();
      this.start = new teach.Start({
        name: text => this.#useName(text),
        agree: experience => this.agree(experience),
        practise: () => this.practise(),
        history: () => teach.ask(this.server, "history"),
        withdraw: id => this.withdraw(id),
        next: () => this.next(),
        own: (file, question) => this.own(file, question),
        resume: draft => this.resume(draft),
        drop: draft => this.#drop(draft),
        model: model => teach.keep.choose({ model }),
        project: slug => this.useProject(slug),
      });
      this.note = make("div", { class: "teach-note-line", role: "status", "aria-live": "polite" });
      this.error = make("div", { class: "teach-error", role: "alert" });
      this.body = make("div", { class: "teach-body" });
      root.replaceChildren(this.error, this.note, this.body);
      this.outbox = new teach.Outbox(server, { state: (...news) => this.#sent(...news) });
      addEventListener("pagehide", () => this.save());
      document.addEventListener("visibilitychange", () => document.hidden && this.save());
      addEventListener("storage", event => this.#elsewhere(event));
      addEventListener("online", () => !this.welcome && this.begin());
      setInterval(() => this.#tick(), TICK_MS);
      this.begin();
    }

    /* Runs one thing at a time; what goes wrong is said, and nothing is lost by it. */
    async #try(act) {
      if (this.busy) return;
      this.busy = true;
      this.#fail("");
      this.body.setAttribute("aria-busy", "true");
      try {
        await act();
      } catch (error) {
        const known = error instanceof teach.Refusal || error instanceof teach.NoAnswer;
        if (!known) console.error(error);
        this.#fail(known ? error.message : "That did not work. Nothing is lost: try again, or reload the page.");
      } finally {
        this.busy = false;
        this.body.removeAttribute("aria-busy");
      }
    }

    #fail(text) {
      const working = this.desk?.root.isConnected;
      this.error.textContent = working ? "" : text;
      this.desk?.fail(working ? text : "");
    }

    // ---- the start --------------------------------------------------------------------------------------------------
    async begin() {
      if (teach.keep.name) teach.keep.name = teach.keep.name; // renews the cookie
      await this.#try(async () => {
        await this.#introduce();
        this.home();
        if (this.outbox.person) this.outbox.flush();
      });
      if (!this.welcome) setTimeout(() => this.welcome || this.begin(), 5 * TICK_MS);
    }

    /* Who it is that works here; until the next time that this is asked, whatever other tabs do. */
    async #introduce() {
      const { name } = teach.keep;
      await this.#refresh();
      [this.name, this.outbox.person] = [name, this.welcome.person?.pseudonym];
    }

    /* The name goes with the requests of all tabs of this browser, so another tab may have chosen another one. */
    async #samePerson() {
      if (!this.welcome.asks_name || teach.keep.name === this.name) return;
      await this.#introduce();
      this.home();
      throw new teach.Refusal("Another name was chosen in another tab of this browser, and counts here, too: go on under it, or choose yours again.");
    }

    /* Before an image is opened: an admin may have changed the form or the licence, or closed the project, in which only
       what was begun goes on (`begun`). */
    async #asItIsNow({ begun = false } = {}) {
      await this.#samePerson();
      await this.#refresh();
      const { agreed, refused, person, problem } = this.welcome;
      if (person && (refused ? begun : agreed)) return;
      this.home();
      throw new teach.Refusal(person ? refused || "The terms are other ones now: read them, and agree to them to go on." : problem);
    }

    /* Whether an image fills the window; it does until somebody wants the page around it. */
    get #filling() {
      return teach.keep.choices.filling !== false;
    }

    #fill(filled) {
      teach.fillWindow(this.root, filled);
      this.desk?.showFilled(filled);
    }

    home() {
      this.#fill(false);
      if (document.fullscreenElement === this.root) document.exitFullscreen();
      this.#leave();
      this.compared = null; // its comparison, if still to come, belongs to no image that is opened later
      this.start.show(this.welcome);
      this.body.replaceChildren(this.start.root);
      if (this.welcome.problem && teach.keep.name) this.#fail(this.welcome.problem);
      else if (this.welcome.refused) this.#fail(this.welcome.refused);
    }

    async #refresh() {
      this.welcome = await teach.ask(this.server, "begin", { project: this.project });
      this.start.modes = this.welcome.modes;
      this.project = this.welcome.project;
      if (this.welcome.projects.length > 1 && !this.welcome.refused) teach.keep.choose({ project: this.project });
    }

    useProject(slug) {
      return this.#try(async () => {
        this.project = slug;
        const url = new URL(location.href);
        if (url.searchParams.has("project")) {
          url.searchParams.set("project", slug); // so that a reload stays here
          history.replaceState(history.state, "", url);
        }
        await this.#refresh();
        this.home();
      });
    }

    async #useName(text) {
      teach.keep.name = text;
      await this.begin();
    }

    #drop(draft) {
      teach.keep.dropDraft(draft.person, draft.image.sha256);
      this.home();
    }

    get #model() {
      const { model } = teach.keep.choices;
      return this.welcome.models.includes(model) ? model : this.welcome.usual;
    }

    agree(experience) {
      return this.#try(async () => {
        if (!experience) throw new teach.Refusal("Say how experienced you are; any answer will do.");
        await teach.ask(this.server, "agree", { project: this.project, terms: this.welcome.terms, experience });
        await this.#refresh();
        this.home();
      });
    }

    /* Whether it was withdrawn: it may be refused, or something else may go on just now. */
    async withdraw(submission_id) {
      let done = false;
      await this.#try(async () => {
        await teach.ask(this.server, "withdraw", { submission_id });
        done = true;
      });
      return done;
    }

    // ---- an image ---------------------------------------------------------------------------------------------------
    practise() {
      return this.#try(async () => {
        await this.#asItIsNow();
        await this.#open({ ...(await teach.ask(this.server, "practise", { project: this.project })), practice: true });
      });
    }

    next() {
      return this.#try(async () => {
        await this.#samePerson();
        // else the task would come again, and its draft could be changed while it is on its way
        if (!(await this.outbox.empty())) throw new teach.NoAnswer("Your last submission is kept on this device, but not stored yet: the next image comes after it. Try again in a moment.");
        await this.#asItIsNow();
        const opened = await teach.ask(this.server, "next", { project: this.project });
        if (!opened) {
          await this.#refresh();
          this.home();
          this.note.textContent = "There is no further image for you at present. Thank you.";
          return;
        }
        const draft = this.#draftOf(opened);
        await this.#open({ ...opened, ...(draft ? await this.#reopened(draft) : {}), lease_id: opened.lease_id });
        if (draft) this.desk.say(DRAFT_BACK);
      });
    }

    own(file, question) {
      return this.#try(async () => {
        await this.#asItIsNow();
        this.note.textContent = "Reading the image…";
        try {
          let uploaded;
          try {
            uploaded = await this.upload(file);
          } catch {
            throw new teach.Refusal("The file could not be uploaded: it may be too large, or the connection is lost.");
          }
          const opened = await teach.ask(this.server, "own", { project: this.project, path: uploaded.path, question });
          const draft = this.#draftOf(opened);
          await this.#open({ ...opened, ...(draft ? await this.#reopened(draft) : {}) });
          if (draft) this.desk.say(DRAFT_BACK);
        } finally {
          this.note.textContent = "";
        }
      });
    }

    /* What was begun on an image before; not what is on its way to the server already. */
    #draftOf({ image }) {
      const { pseudonym } = this.welcome.person,
        draft = teach.keep.draft(pseudonym, image.sha256);
      return teach.keep.waiting(pseudonym).some(sent => sent.submission_id === draft?.submission_id) ? null : draft;
    }

    resume(draft) {
      return this.#try(async () => {
        this.project = draft.project ?? this.project;
        await this.#asItIsNow({ begun: true });
        await this.#open(await this.#reopened(draft));
        this.desk.say("Your draft is back.");
      });
    }

    /* An image with its draft: its question and its blur are those that it was begun with. */
    async #reopened(draft) {
      const opened = await teach.ask(this.server, "reopen", { sha256: draft.image.sha256, shown_at: draft.shown_at });
      return { ...opened, ...drafted(draft) };
    }

    async #open(opened) {
      const { path, samples, form: values, elapsed_ms, outside } = opened;
      const mode = opened.mode ?? this.start.mode;
      const form = String(this.welcome.findings);
      if (this.desk?.asks !== form) this.desk = null; // the form of another list of findings
      this.desk ??= new teach.Desk(this.welcome, {
        changed: event => this.#changed(event),
        submit: onwards => this.submit(onwards),
        fill: () => {
          teach.keep.choose({ filling: !this.#filling });
          this.#fill(this.#filling);
          this.desk.focus();
        },
        fullScreen: () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen?.()),
        skip: reason => this.skip(reason),
        withdraw: async () => {
          if (await this.withdraw(this.work.submission_id)) this.desk.result.withdrawn();
        },
        leave: () => this.#leaveForGood(),
        next: () => this.next(),
        home: () => this.#try(async () => (await this.#refresh(), this.home())),
      });
      this.desk.asks = form;
      this.work = null;
      this.body.replaceChildren(this.desk.root);
      this.#fill(this.#filling);
      try {
        await this.desk.surface.open({ image: opened.image, picture: located(opened.picture), blurred: located(opened.blurred), mode, path, samples, elapsed_ms, outside });
      } catch (error) {
        console.error(error);
        this.home();
        throw new teach.Refusal(
          mode === "clicks"
            ? "The image could not be loaded: try again."
            : `The blurred image cannot be drawn in this browser, so the mode "${teach.modeName(mode)}" cannot start: choose clicks, or use another browser.`,
        );
      }
      this.work = {
        mode,
        image: opened.image,
        lease_id: opened.lease_id,
        shown_at: opened.shown_at,
        submission_id: opened.submission_id ?? uuid(),
        practice: Boolean(opened.practice),
        project: this.project,
        saved_ms: 0,
        state: "working",
      };
      this.#tellOfTheOneBefore();
      this.desk.form.values = values ?? {};
      this.desk.begin(opened.image.question, Boolean(opened.lease_id));
      this.#tick();
      if (mode === "moving window") this.desk.say("Move the disc over the image, and rest where you look.");
      else this.desk.say("Click where you look, in the order you look.");
      this.note.textContent = "";
      this.root.scrollIntoView({ block: "start" }); // where the page is seen, the last image may have been read far down
      this.desk.focus();
      this.#grid();
    }

    /* The model's patch grid; its path stays with the server. Without it everything works but the patch is not shown. */
    async #grid(turns = 6) {
      const { work } = this,
        { sha256, width_px, height_px } = work.image;
      if (!this.#model || work.practice) return;
      const key = `${this.#model} ${width_px} ${height_px}`; // images of one size have one grid
      try {
        if (!this.grids.has(key)) this.grids.set(key, (await teach.ask(this.server, "look", { sha256, model: this.#model })).grid);
        if (work === this.work && work.state !== "stored") await this.desk.surface.useGrid(this.grids.get(key));
        this.desk.refresh();
      } catch (error) {
        if (!(error instanceof teach.Refusal || error instanceof teach.NoAnswer)) throw error;
        if (turns) setTimeout(() => work === this.work && this.#grid(turns - 1), GRID_AGAIN_MS);
      }
    }

    #leave() {
      this.save();
      this.work = null;
      this.desk?.surface.close();
    }

    #leaveForGood() {
      teach.keep.dropDraft(this.welcome.person.pseudonym, this.work.image.sha256);
      this.work = null;
      this.home();
    }

    // ---- the draft --------------------------------------------------------------------------------------------------
    #changed({ silent = false }) {
      if (!this.work) return;
      if (!silent || performance.now() - this.work.saved_ms > SAVE_MS) this.save();
    }

    /* Keeps the draft on this device; nothing is kept of an image on which nothing was done. */
    save() {
      const { work, desk } = this;
      if (!work || work.state !== "working" || work.practice) return;
      const { path, follower } = desk.surface,
        form = desk.form.values;
      work.saved_ms = performance.now();
      const empty = !path.done.length && !path.undone.length && !follower.samples.length;
      if (empty && !form.findings.length && !form.report && form.confidence === null && !work.kept) return;
      const { mode, image, lease_id, shown_at, submission_id, project } = work;
      work.kept = teach.keep.saveDraft({
        version: DRAFT_VERSION,
        person: this.welcome.person.pseudonym,
        ...{ mode, image, lease_id, shown_at, submission_id, project, form },
        path: path.toJSON(),
        samples: follower.samples,
        elapsed_ms: desk.surface.time(),
        outside: desk.surface.outside,
        saved_at: Date.now(),
      });
      if (!work.kept) desk.fail("This browser cannot keep a draft (it is full, or forbids it): do not close the page before you submit.");
    }

    #elsewhere({ key }) {
      const { work } = this;
      if (work?.state !== "working" || key !== teach.keep.draftKey(this.welcome.person.pseudonym, work.image.sha256)) return;
      this.desk.fail("This image is being annotated in another tab of this browser, too: go on in one of them alone.");
    }

    #tick() {
      if (this.work?.state !== "working") return;
      const { done, open_images } = this.welcome.progress,
        { projects } = this.welcome;
      const project = projects.length > 1 && projects.find(({ slug }) => slug === this.project)?.name;
      const left = `${done} done${open_images ? `, ${open_images} open` : ""}`;
      this.desk.tick({ ...this.work, project, left, kept: this.work.kept ? "draft kept on this device" : "" });
      if (this.work.kept && performance.now() - this.work.saved_ms > SAVE_MS) this.save();
    }

    // ---- the end of an image ----------------------------------------------------------------------------------------
    /* `onwards`: the next image follows at once, and what is said of this one stands beside it. */
    submit(onwards = false) {
      const { work, desk } = this,
        { surface } = desk,
        { findings, report, confidence } = desk.form.values;
      if (work?.state !== "working") return;
      const moving = work.mode === "moving window";
      if (moving ? !surface.follower.samples.length : !surface.path.length)
        return moving
          ? desk.fail("Nothing was looked at yet: move the disc over the image first.", "looked")
          : desk.fail("There is no click yet: click where you look, in the order you look.");
      const least = this.welcome.least_clicks;
      if (!moving && surface.path.length < least) return desk.fail(`At least ${least} clicks are wanted here; there are ${surface.path.length}.`);
      if (!findings.length) return desk.fail(`Tick the findings that you see, or "${this.welcome.no_finding}".`);
      desk.fail("");
      if (work.practice) return this.#practised(findings);
      this.save();
      const { width, height } = surface.viewer.view.stage;
      const sent = {
        submission_id: work.submission_id,
        person: this.welcome.person.pseudonym,
        sha256: work.image.sha256,
        lease_id: work.lease_id,
        shown_at: work.shown_at,
        mode: work.mode,
        clicks: surface.path.points.map(({ x, y, onset_ms, zoom, window, pointer, edit }) => {
          const shown = { zoom, window_center: window.center, window_width: window.width, inverted: window.inverted };
          return { x, y, onset_ms, ...shown, pointer, edit };
        }),
        samples: surface.follower.samples,
        ...{ findings, findings_asked: desk.form.asked, report, confidence },
        client: {
          canvas_width_px: Math.max(1, Math.round(width)),
          canvas_height_px: Math.max(1, Math.round(height)),
          outside_clicks: surface.outside,
          zoom: surface.viewer.view.scale,
          device_pixel_ratio: globalThis.devicePixelRatio || 1,
        },
      };
      Object.assign(work, { state: "sending", onwards });
      surface.lock(true);
      work.posted = teach.keep.post(sent);
      this.outbox.send(sent);
    }

    /* The practice image ends here: what it was drawn with is shown, and nothing is kept. */
    #practised(findings) {
      return this.#try(async () => {
        const { work, desk } = this,
          { path, follower } = desk.surface;
        const places = path.points.map(({ x, y }) => [x, y]),
          { samples } = follower;
        const answer = await teach.ask(this.server, "practised", { project: this.project, places, samples, findings });
        work.state = "stored";
        teach.keep.choose({ practised: true });
        desk.surface.lock(true);
        desk.practised(answer);
        await desk.surface.compare(answer.paths, null, answer.truth);
      });
    }

    #sent(id, state, { seconds, words, receipt, sent }) {
      const { work, desk } = this;
      if (work?.submission_id !== id) return this.#sentEarlier(state, { words, receipt, sent });
      const where = work.posted ? "Saved on this device" : "Not stored yet, keep this page open";
      if (state === "sending") desk.sending(make("p", {}, `${where}. Sending…`));
      else if (state === "waiting")
        desk.sending(
          make("p", {}, `${where}. ${words || "There is no connection to the server;"} ${words ? "Trying" : "trying"} again in ${seconds} s, and when the connection is back.`),
          teach.button("Try now", () => this.outbox.send(sent)),
        );
      else if (state === "refused") {
        Object.assign(work, { state: "working", submission_id: uuid() });
        desk.surface.lock(false);
        desk.again();
        desk.fail(words);
      } else if (state === "stored") this.#stored(receipt, sent);
    }

    async #stored(receipt, sent) {
      const { work, desk } = this;
      work.state = "stored";
      teach.keep.dropDraft(sent.person, sent.sha256, sent.submission_id);
      desk.stored(receipt);
      const compared = this.#compare(work);
      try {
        await this.#refresh();
      } catch {
        // the progress is shown with the next image
      }
      desk.line.textContent = `${this.welcome.progress.done} submitted, ${this.welcome.progress.open_images} open`;
      if (work.onwards && work === this.work) {
        await this.next();
        work.onwards = false; // where no other image came, the comparison of this one stands beside it
        await this.#tell(work);
      }
      await compared;
    }

    /* From the outbox of an earlier visit. */
    #sentEarlier(state, { words, receipt, sent }) {
      if (state === "stored") {
        teach.keep.dropDraft(sent.person, sent.sha256, sent.submission_id);
        this.note.textContent = `An earlier submission of yours is stored now. Receipt ${receipt.receipt_id}.`;
      }
      if (state === "waiting") this.note.textContent = "An earlier submission of yours is saved on this device and will be sent when the server can be reached." + (words && ` (${words})`);
      if (state === "refused") this.note.textContent = `An earlier submission of yours was not taken (${words}) Its draft is still here.`;
      if (state !== "sending" && !this.work && this.welcome?.person && this.start.root.isConnected) this.start.show(this.welcome);
    }

    skip(reason) {
      if (!reason) return this.desk.fail("Say in a word why.");
      return this.#try(async () => {
        const { work } = this;
        await teach.ask(this.server, "skip", { lease_id: work.lease_id, reason });
        teach.keep.dropDraft(this.welcome.person.pseudonym, work.image.sha256);
        this.work = null;
        await this.#refresh();
        this.home();
        this.note.textContent = "Skipped.";
      });
    }

    // ---- comparing --------------------------------------------------------------------------------------------------
    /* How the submission of an image compares: shown beside it, or in one line where another one is there already. */
    async #compare(work) {
      this.compared = work;
      try {
        work.found = await teach.ask(this.server, "compare", { submission_id: work.submission_id, model: this.#model });
      } catch (error) {
        if (!(error instanceof teach.Refusal || error instanceof teach.NoAnswer)) throw error;
        work.trouble = error.message;
      }
      await this.#tell(work);
    }

    async #tell(work) {
      const { desk } = this,
        { found, trouble } = work;
      if (work !== this.work) return this.#tellOfTheOneBefore();
      if (work.onwards || !(found || trouble)) return; // the next image is on its way, or the comparison
      work.answered = true;
      if (trouble) return desk.result.fail(trouble);
      desk.result.compare(found);
      await desk.surface.compare(found.paths, found.grid, found.truth);
    }

    /* Beside an image, unless it was shown beside its own; whichever of the two is there first. */
    #tellOfTheOneBefore() {
      const { found, answered } = this.compared ?? {};
      if (this.desk) this.desk.before.textContent = found && !answered ? `The image before: ${found.sentence}` : "";
    }
  };

  const located = file => ({ ...file, url: teach.addressOf(file.url) });

  /* What an image takes over from its draft. */
  const drafted = ({ mode, path, samples, form, elapsed_ms, outside, shown_at, submission_id, lease_id }) => ({
    ...{ mode, path, samples, form, elapsed_ms, outside, shown_at, submission_id, lease_id },
  });

  /* Where the page is not secure (plain http on a network), browsers give no randomUUID, but they do give random bytes. */
  function uuid() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    [bytes[6], bytes[8]] = [(bytes[6] & 0x0f) | 0x40, (bytes[8] & 0x3f) | 0x80];
    const hex = [...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }

  /* What `js_on_load` calls. */
  teach.mount = (element, props, server, upload) => {
    const root = element.querySelector(".gaze-teach");
    root.app = new teach.App(root, { server, upload });
  };
})((globalThis.GazeTeach ??= {}));
