/* What is kept on this device: drafts, submissions that are not stored yet, the chosen name. Nothing else is. */
"use strict";
(teach => {
  const ROOT = "gazevlm-teach/";
  const read = key => {
    try {
      return JSON.parse(localStorage.getItem(ROOT + key));
    } catch {
      return null; // blocked, or not ours
    }
  };
  /* Whether it could be written: a browser may forbid it, or have no room. */
  const write = (key, value) => {
    try {
      localStorage.setItem(ROOT + key, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  };
  const drop = key => {
    try {
      localStorage.removeItem(ROOT + key);
    } catch {
      // blocked: then there is nothing either
    }
  };
  const keysUnder = prefix => {
    try {
      return Object.keys(localStorage)
        .filter(key => key.startsWith(ROOT + prefix))
        .map(key => key.slice(ROOT.length));
    } catch {
      return [];
    }
  };
  const all = prefix =>
    keysUnder(prefix)
      .map(read)
      .filter(Boolean);
  const draftKey = (person, sha256) => `draft/${person}/${sha256}`;

  teach.keep = {
    draftKey: (person, sha256) => ROOT + draftKey(person, sha256),
    saveDraft: draft => write(draftKey(draft.person, draft.image.sha256), draft),
    draft: (person, sha256) => read(draftKey(person, sha256)),
    drafts: person => all(`draft/${person}/`).sort((a, b) => b.saved_at - a.saved_at),
    /* With an id, only the draft of that submission: another one may have been begun since, here or in another tab. */
    dropDraft: (person, sha256, submission_id = null) => {
      const key = draftKey(person, sha256);
      if (submission_id === null || read(key)?.submission_id === submission_id) drop(key);
    },

    /* A submission stays here until the server has said that it is stored. */
    post: sent => write(`outbox/${sent.submission_id}`, sent),
    waiting: person => all("outbox/").filter(sent => sent.person === person),
    posted: sent => drop(`outbox/${sent.submission_id}`),

    get choices() {
      return read("choices") ?? {};
    },
    choose: values => write("choices", { ...read("choices"), ...values }),

    /* The same as in every other tab. */
    get name() {
      return GazeName.name;
    },
    set name(text) {
      GazeName.name = text;
    },
  };
})((globalThis.GazeTeach ??= {}));
