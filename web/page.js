/* What all tabs share. */
"use strict";
(page => {
  /* The name that somebody chose on this device; one for all tabs. It goes with every request, as a cookie. */
  const KEY = "gazevlm-teach/name",
    YEAR_S = 31_536_000;

  page.GazeName = {
    get name() {
      try {
        return JSON.parse(localStorage.getItem(KEY)) ?? "";
      } catch {
        return ""; // blocked, or not ours
      }
    },
    set name(text) {
      try {
        localStorage.setItem(KEY, JSON.stringify(text));
      } catch {
        // blocked: then the cookie alone has it
      }
      // inside a frame of another site a browser sends no "Lax" cookie
      const site = location.protocol === "https:" ? "SameSite=None; Secure" : "SameSite=Lax";
      document.cookie = `gazevlm_name=${encodeURIComponent(text)}; path=/; max-age=${YEAR_S}; ${site}`;
    },
  };

  /* A chart that is drawn while its tab is closed has a width of its own; on this it takes the page's. */
  document.addEventListener("click", event => {
    if (event.target.closest?.("[role=tab]")) setTimeout(() => dispatchEvent(new Event("resize")), 50);
  });
})(globalThis);
