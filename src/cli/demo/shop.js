// What tracking scripts of advertising and statistics services do in a page: write first-party cookies.
(() => {
  const hex = n => Array.from(crypto.getRandomValues(new Uint8Array(n)), b => b.toString(16).padStart(2, "0")).join("");
  const held = name => document.cookie.split("; ").some(pair => pair.startsWith(name + "="));
  const keep = (name, value) => {
    if (!held(name)) document.cookie = `${name}=${value}; path=/; max-age=7776000; samesite=lax`;
  };
  keep("_fbc", `fb.0.${Date.now()}.${hex(12)}`);
  keep("_ttp", hex(13));
  keep("_ym_uid", `${Date.now()}${Math.floor(Math.random() * 1e6)}`);
  keep("adrcid", hex(11));
  const list = document.getElementById("held");
  const names = document.cookie.split("; ").filter(Boolean).map(pair => pair.split("=")[0]).sort();
  list.textContent = names.join(", ");
  list.parentElement.hidden = false;
})();
