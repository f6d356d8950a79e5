// Sends the bare file, so that the hash is that of the file. Without scripts the form sends it with a frame around it.
(() => {
  const form = document.getElementById("upload");
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file) return;
    const answer = await fetch("/upload", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    const result = document.getElementById("result");
    result.querySelector("code").textContent = await answer.text();
    result.hidden = false;
  });
})();
