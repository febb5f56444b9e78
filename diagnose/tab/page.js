// A pasted image goes where a dropped one goes, while that can be seen. Text that is pasted stays what it is.
document.addEventListener("paste", event => {
  const [file] = event.clipboardData?.files ?? [];
  if (!file || !document.querySelector("#upload")?.offsetParent) return;
  event.preventDefault();
  const give = () => {
    const input = document.querySelector("#upload input[type=file]");
    if (!input) return false;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  };
  if (give()) return;
  // The place is taken by an earlier file, which has to leave first. Its going empties the page, and whatever came before
  // that would go with it.
  document.querySelector("#upload button[aria-label='Clear'], #upload button[aria-label='Remove']")?.click();
  const emptied = () => !document.querySelector("#viewer .gaze-viewer")?.viewer?.value.image,
    latest = performance.now() + 10_000;
  const waiting = setInterval(() => {
    if ((emptied() || performance.now() > latest) && (give() || performance.now() > latest)) clearInterval(waiting);
  }, 30);
});
