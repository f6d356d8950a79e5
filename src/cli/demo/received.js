// Compares what this browser holds with what the site received. HttpOnly cookies are not seen by scripts.
(() => {
  const list = document.getElementById("kept-back");
  const received = new Set(JSON.parse(list.dataset.received));
  const names = document.cookie.split("; ").filter(Boolean).map(pair => pair.split("=")[0]);
  for (const name of names.filter(name => !received.has(name) && !name.startsWith("kelisim_"))) {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("code"), { textContent: name }));
    list.append(item);
  }
  document.getElementById("compare").hidden = list.children.length === 0;
})();
