// The story of one claim in a real browser: a customer reads the month and files a claim, an agent recommends more than
// her limit, a supervisor agrees, the customer reads the answer. Every page works without JavaScript, so the story runs
// with it switched off. Each page that it meets is then looked at with axe, at two widths and in both colour schemes.
//
//   npm install && BASE_URL=http://127.0.0.1:8080 npm run story
//
// Settings (environment): BASE_URL of a running `makegood demo`; CHROMIUM, the browser's program, if it is not on the
// PATH; SHOTS, a folder for pictures; and whom and what the story is about, see `story` below. Exit 0 when all is well.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const env = process.env;
const base = (env.BASE_URL ?? 'http://127.0.0.1:8080').replace(/\/$/, '');
const here = path.dirname(fileURLToPath(import.meta.url));
const shots = env.SHOTS ?? path.join(here, 'shots');
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const story = {
  // The name on the sign-in page of the worked example's customer; the first listed unless set.
  worked: env.WORKED_CUSTOMER,
  // The customer who files; the second listed unless set. Must have no open claim.
  customer: env.CUSTOMER_NAME,
  agent: env.AGENT_NAME ?? 'Mere',
  supervisor: env.SUPERVISOR_NAME ?? 'Wiremu',
  month: env.MONTH ?? '2026-10',
  monthName: env.MONTH_NAME ?? 'October 2026',
  // What the worked example's month must say.
  facts: (env.FACTS ?? '$25.00|97.009|1,335').split('|'),
  asked: env.ASKED ?? '480.00',
  given: env.GIVEN ?? '240.00',
  limit: env.LIMIT ?? '$200.00',
  // How long the answer may take to reach the customer: a decision can be undone for a while before it is sent.
  patience: Number(env.PATIENCE_SECONDS ?? 60) * 1000,
};
const dollars = (amount) => `$${amount}`;

function browserProgram() {
  if (env.CHROMIUM) return env.CHROMIUM;
  const names = ['chromium', 'chromium-browser', 'google-chrome'];
  const found = (env.PATH ?? '').split(path.delimiter).flatMap((dir) => names.map((name) => path.join(dir, name)));
  const program = found.find((file) => fs.existsSync(file));
  assert.ok(program, 'no Chromium on the PATH: set CHROMIUM to its program');
  return program;
}

const complaints = [];
const note = (where, what) => complaints.push(`${where}: ${what}`);

const browser = await chromium.launch({
  executablePath: browserProgram(),
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
fs.mkdirSync(shots, { recursive: true });

// A page of somebody who has JavaScript switched off.
async function visitor(width) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, javaScriptEnabled: false });
  const page = await context.newPage();
  watch(page, 'visitor');
  return page;
}

function watch(page, where) {
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.origin !== new URL(base).origin) note(where, `a request left for ${url.origin}`);
  });
  page.on('response', (response) => {
    const isPage = response.request().resourceType() === 'document' && !response.headers().location;
    if (isPage && !(response.headers()['content-security-policy'] ?? '').includes("default-src 'none'")) {
      note(response.url(), 'comes without the content security policy');
    }
  });
  page.on('console', (message) => {
    // A browser logs the status of a refused form (422) as an error; the page itself is what is judged.
    const isStatus = message.text().startsWith('Failed to load resource') && message.location().url === page.url();
    if (message.type() === 'error' && !isStatus) note(`${where} ${page.url()}`, message.text());
  });
}

// Looks at the page as it stands, also where it answered a POST: the same HTML is shown to browsers with JavaScript, since
// axe needs it, at both widths and in both schemes.
async function look(page, name) {
  const [html, url, cookies] = [await page.content(), page.url(), await page.context().storageState()];
  for (const width of [1280, 320]) {
    for (const colorScheme of ['light', 'dark']) {
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, storageState: cookies });
      const mirror = await context.newPage();
      const where = `${name} ${width} ${colorScheme}`;
      mirror.on('pageerror', (error) => note(where, error));
      await mirror.route(url, (route) =>
        route.request().isNavigationRequest() ? route.fulfill({ body: html, contentType: 'text/html; charset=utf-8' }) : route.continue(),
      );
      await mirror.goto(url);
      await mirror.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
      for (const complaint of await mirror.evaluate(measured)) note(where, complaint);
      await mirror.evaluate(axe);
      const tags = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'];
      const { violations } = await mirror.evaluate((tags) => window.axe.run(document, { runOnly: tags }), tags);
      for (const { id, nodes } of violations) note(where, `axe ${id}: ${nodes.map((node) => node.target).join(', ')}`);
      await mirror.screenshot({ path: path.join(shots, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      await context.close();
    }
  }
}

// Runs in the page: what is too wide, and what is too narrow to read.
function measured() {
  const wide = document.documentElement.scrollWidth > window.innerWidth ? ['is wider than the screen'] : [];
  const isHidden = (cell) => cell.closest('thead')?.getBoundingClientRect().width === 1;
  const narrow = [...document.querySelectorAll('td, th')]
    .filter((cell) => cell.checkVisibility() && !isHidden(cell) && cell.getBoundingClientRect().width < 48)
    .map((cell) => `has a cell narrower than 48 px: ${cell.textContent.slice(0, 30)}`);
  return [...wide, ...narrow];
}

async function heading(page, expected) {
  const text = (await page.getByRole('heading', { level: 1 }).textContent()).trim();
  if (expected instanceof RegExp) assert.match(text, expected);
  else assert.equal(text, expected);
}

async function says(page, text) {
  const main = (await page.getByRole('main').innerText()).replace(/\s+/g, ' ');
  assert.ok(main.includes(text), `the page ${page.url()} does not say ${JSON.stringify(text)}: ${main.slice(0, 600)}`);
}

async function signIn(page, name) {
  const signOut = page.getByRole('button', { name: 'Sign out' });
  await page.goto(`${base}/`);
  if (await signOut.count()) await signOut.click();
  await page.goto(`${base}/sign-in`);
  await page.getByRole('button', { name: `Continue as ${name}`, exact: true }).click();
  await signOut.waitFor();
}

async function listedPeople(page) {
  await page.goto(`${base}/sign-in`);
  const buttons = await page.getByRole('button', { name: /^Continue as / }).all();
  const names = await Promise.all(buttons.map((button) => button.innerText()));
  return names.map((name) => name.replace(/\s+/g, ' ').replace('Continue as ', '').trim());
}

const openMonth = (page) => page.goto(`${base}/months/${story.month}`);

async function readsTheMonth(page) {
  await openMonth(page);
  await heading(page, `What happened to your mail in ${story.monthName}`);
  for (const fact of story.facts) await says(page, fact);
  await page.getByText('Daily downtime as a table').click();
  assert.ok(await page.getByRole('table', { name: /Downtime each day/ }).isVisible(), 'the daily table opens without JavaScript');
}

async function filesAClaim(page) {
  await openMonth(page);
  await look(page, 'claimant-month');
  await page.getByRole('link', { name: /^(Ask us to look again|Tell us our record is wrong)$/ }).click();
  await page.getByLabel('How much are you asking for? (optional)').fill('about five hundred');
  await page.getByRole('button', { name: 'Send claim' }).click();

  assert.match(await page.title(), /^Error: /);
  const summary = page.getByRole('group', { name: 'There is a problem' });
  assert.ok(await summary.evaluate((group) => group === document.activeElement), 'the summary of errors has the focus');
  assert.ok(
    await summary.evaluate((group) => Boolean(group.compareDocumentPosition(document.querySelector('h1')) & Node.DOCUMENT_POSITION_FOLLOWING)),
    'the summary of errors comes before the heading',
  );
  await summary.getByRole('link', { name: 'Tell us what the outage stopped you doing' }).click();
  const words = page.getByLabel('What did it stop you doing?');
  assert.ok(await words.evaluate((field) => field === document.activeElement), 'the link goes to the field');
  const amount = page.getByLabel('How much are you asking for? (optional)');
  assert.equal(await amount.inputValue(), 'about five hundred', 'what was typed is kept');
  await look(page, 'claim-form-problems');

  await page.getByLabel('It cost my business more than the credit').check();
  await words.fill('Two orders came by mail and lapsed before we read them.\n<img src=x onerror="alert(1)">');
  await amount.fill(story.asked);
  await page.getByRole('button', { name: 'Send claim' }).click();
  await heading(page, 'We have your claim');
  await look(page, 'claim-sent');
  const [reference] = (await page.getByRole('main').innerText()).match(/MG-\d{4}-\d+/) ?? [];
  assert.ok(reference, 'the claim has a reference');
  return { reference, url: page.url() };
}

async function recommends(page, reference) {
  await page.getByRole('link', { name: /^Claims/ }).click();
  await look(page, 'queue');
  await page.getByLabel('Find').fill(reference);
  await page.getByRole('button', { name: 'Apply' }).click();
  assert.ok(page.url().includes(reference), 'the filter is in the address');
  await page.getByRole('link', { name: reference, exact: true }).click();
  await says(page, '<img src=x onerror="alert(1)">');
  await says(page, `Your limit is ${story.limit}`);
  await look(page, 'case');
  await page.getByLabel('Give part of it').check();
  await page.getByLabel(/^Amount, /).fill(story.given);
  await page.getByLabel('Reason the customer will see').selectOption({ label: 'Evidence of cost, part accepted' });
  await page.getByLabel('What we tell them').fill('You showed us one of the two orders. We are paying for that one.');
  await page.getByRole('button', { name: 'Decide' }).click();
  await says(page, `${dollars(story.given)} is over your limit of ${story.limit}`);
  assert.equal(await page.getByLabel(/^Amount, /).inputValue(), story.given, 'what was typed is kept');
  await look(page, 'case-over-limit');
  await page.getByRole('button', { name: 'Send to supervisor' }).click();
  await says(page, 'With supervisor');
  await look(page, 'case-with-supervisor');
}

async function agrees(page, reference) {
  await page.getByRole('link', { name: /^Approvals/ }).click();
  await look(page, 'approvals');
  await page.getByRole('link', { name: reference, exact: true }).click();
  await says(page, dollars(story.given));
  await look(page, 'case-to-agree');
  await page.getByRole('button', { name: /^Agree/ }).click();
  await look(page, 'case-agreed');
}

async function readsTheAnswer(page, url) {
  const end = Date.now() + story.patience;
  const answer = `another ${dollars(story.given)}`;
  const title = page.getByRole('heading', { level: 1 });
  // A decision can be undone for ten minutes: the demo's clock is moved past them.
  await page.goto(url);
  await page.getByRole('button', { name: 'Ten minutes later' }).click();
  do {
    await page.goto(url);
  } while (!(await title.textContent()).includes(answer) && Date.now() < end);
  await heading(page, new RegExp(`^We are giving you ${answer.replace(/[$.]/g, '\\$&')}$`));
  await look(page, 'claim-answered');
  await page.getByRole('link', { name: 'Credits', exact: true }).click();
  await says(page, dollars(story.given));
  await look(page, 'credits');
}

async function run() {
  const phone = await visitor(320);
  const desk = await visitor(1280);
  const people = await listedPeople(phone);
  await look(phone, 'sign-in');
  const worked = story.worked ?? people[0];
  const customer = story.customer ?? people[1];
  for (const page of [desk, phone]) {
    await signIn(page, worked);
    await readsTheMonth(page);
  }
  await look(desk, 'month');

  await signIn(phone, customer);
  const { reference, url } = await filesAClaim(phone);
  await signIn(desk, story.agent);
  await recommends(desk, reference);
  await phone.goto(url);
  await heading(phone, 'A second person is checking it');
  await signIn(desk, story.supervisor);
  await agrees(desk, reference);
  await readsTheAnswer(phone, url);

  await signIn(phone, worked);
  const stranger = await phone.goto(url);
  assert.equal(stranger.status(), 404, 'another account’s claim is not there');
  await heading(phone, 'We cannot find that page');
  await look(phone, 'error-404');
  console.log(`${reference}: asked ${dollars(story.asked)}, given ${dollars(story.given)}`);
}

try {
  await run();
} catch (error) {
  note('the story', error.stack ?? error);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.error(complaint);
console.log(complaints.length ? `${complaints.length} complaints` : `all is well; pictures are in ${shots}`);
process.exitCode = complaints.length ? 1 : 0;
