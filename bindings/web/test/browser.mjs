// The browsers that tests and benches run in.
import { execFileSync } from 'node:child_process';

import { chromium, firefox } from 'playwright-core';

function find(variable, names) {
  if (process.env[variable]) return process.env[variable];
  for (const name of names) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      continue;
    }
  }
  return undefined;
}

/** Headless Chromium. @param microphone path of a WAV file that the fake microphone plays */
export function launch(microphone, args = []) {
  const fake = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`];
  const executablePath = find('CHROMIUM', ['chromium', 'chromium-browser', 'google-chrome']);
  if (!executablePath) throw new Error('no Chromium on the path: set CHROMIUM');
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', ...(microphone ? fake : []), ...args],
  });
}

/** The path of Firefox, if there is one. */
export function findFirefox() {
  return find('FIREFOX', ['firefox-esr', 'firefox']);
}

/** Headless Firefox. */
export function launchFirefox() {
  return firefox.launch({ channel: 'moz-firefox', executablePath: findFirefox() });
}
