// Kelisim: carries the choice that a visitor makes in the site's own banner to the gateway, which decides by it.
//
// <script src="/.kelisim/banner.js" data-banner="klaro" data-advertising="googleAds,meta" data-analytics="matomo"></script>
//
// Or by hand, when the visitor has clicked: kelisim.consent({ advertising: true }). Only what a visitor does now is
// sent, never what a banner remembers: an old yes would become a new one, and undo a withdrawal made elsewhere.
(() => {
  'use strict';
  const script = document.currentScript;
  if (!script || window.kelisim) return;
  const endpoint = new URL('consent', script.src);
  if (endpoint.origin !== location.origin) return;
  const PURPOSES = ['advertising', 'analytics', 'functional'];

  const ask = async (method, body) => {
    const answer = await fetch(endpoint, {
      method,
      body: body && JSON.stringify(body),
      headers: body ? { accept: 'application/json', 'content-type': 'application/json' } : { accept: 'application/json' },
      credentials: 'same-origin',
      cache: 'no-store',
      // A click on the banner is often followed by one on a link.
      keepalive: true,
    });
    if (!answer.ok) throw new Error(`kelisim: the choice was not stored (${answer.status})`);
    const state = await answer.json();
    if (method !== 'GET') window.dispatchEvent(new CustomEvent('kelisim:consent', { detail: state }));
    return state;
  };

  // One after the other: the last choice has to be the last to arrive.
  let last = Promise.resolve();
  const inOrder = (task) => {
    last = last.then(task, task);
    return last;
  };

  // Only a plain `true` is a yes.
  const consent = (choice) => {
    const body = { method: 'banner' };
    for (const purpose of PURPOSES) body[purpose] = Object(choice)[purpose] === true;
    return inOrder(() => ask('POST', body));
  };

  window.kelisim = Object.freeze({
    consent,
    withdraw: () => inOrder(() => ask('DELETE')),
    state: () => ask('GET'),
  });

  // What the banner calls each purpose. All of it must be granted; a purpose without a name is refused.
  const names = {};
  for (const purpose of PURPOSES) {
    names[purpose] = (script.dataset[purpose] || '').split(',').map((name) => name.trim()).filter(Boolean);
  }
  const report = (isGranted) => {
    const choice = {};
    for (const purpose of PURPOSES) choice[purpose] = names[purpose].length > 0 && names[purpose].every(isGranted);
    consent(choice).catch((error) => console.error(error));
  };
  const whenLoaded = (task) => {
    if (document.readyState === 'complete') task();
    else window.addEventListener('load', task, { once: true });
  };

  const banners = {
    // vanilla-cookieconsent 3: categories. `cc:onConsent` is left alone: it also tells what is remembered.
    cookieconsent() {
      const chosen = (event) => {
        const granted = ((event.detail || {}).cookie || {}).categories || [];
        report((name) => granted.includes(name));
      };
      window.addEventListener('cc:onFirstConsent', chosen);
      window.addEventListener('cc:onChange', chosen);
    },
    // Klaro: services. The type `script` is no click.
    klaro() {
      whenLoaded(() => {
        if (!window.klaro || !window.klaro.getManager) return console.error('kelisim: there is no klaro on this page');
        window.klaro.getManager().watch({
          update: (manager, event, data) => {
            if (event === 'saveConsents' && data.type !== 'script') report((name) => data.consents[name] === true);
          },
        });
      });
    },
    // tarteaucitron: services. It tells each one by itself, all within one click.
    tarteaucitron() {
      let due = false;
      const chosen = () => {
        if (due) return;
        due = true;
        setTimeout(() => {
          due = false;
          const banner = window.tarteaucitron || {};
          // Where reading on counts as consent, nothing tells a click from a scroll.
          const explicit = !banner.parameters || banner.parameters.highPrivacy !== false;
          report((name) => explicit && (banner.state || {})[name] === true);
        }, 0);
      };
      for (const purpose of PURPOSES) {
        for (const name of names[purpose]) {
          document.addEventListener(`${name}_allowed`, chosen);
          document.addEventListener(`${name}_disallowed`, chosen);
        }
      }
    },
  };

  const banner = script.dataset.banner;
  if (!banner) return;
  if (Object.hasOwn(banners, banner)) banners[banner]();
  else console.error(`kelisim: data-banner="${banner}" is not known; call kelisim.consent() instead`);
})();
