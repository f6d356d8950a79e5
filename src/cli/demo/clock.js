(() => {
  const clock = document.getElementById("clock");
  const events = new EventSource("/events/stream");
  events.onmessage = event => { clock.textContent = new Date(event.data).toLocaleTimeString(document.documentElement.lang); };
})();
