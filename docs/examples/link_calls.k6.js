// Links and unlinks the emails of a mapping in turn, driven by k6 (https://k6.io).
//
// The tests of bulklink check the syntax of this script; they do not run it. k6 reads the mapping
// from the folder of the script, so copy it there:
//
//   bulklink generate --messages 20000 --contacts 1000 --format jsonl --out world
//   bulklink emulator --port 8080 --world world/world.json --latency 0.05
//   cp docs/examples/link_calls.k6.js world/
//   k6 run world/link_calls.k6.js
//
// CRM_URL, RATE (calls a second) and DURATION can be set in the environment.
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";
import { SharedArray } from "k6/data";

const URL = __ENV.CRM_URL || "http://127.0.0.1:8080";
const BATCH_SIZE = 20;
const MAX_IDS_LENGTH = 2000; // of the message ids of an unlink call, with their commas
const CALL = { name: "link_record" }; // one name for all addresses

const batches = new SharedArray("batches", () => {
  const rows = open("./mapping.jsonl").trim().split("\n").map((line) => JSON.parse(line));
  const groups = new Map();
  for (const row of rows) {
    const key = `${row.contact_id} ${row.owner_id}`;
    groups.set(key, [...(groups.get(key) || []), row]);
  }
  const size = Math.min(BATCH_SIZE, Math.floor(MAX_IDS_LENGTH / (rows[0].message_id.length + 1)));
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / size) }, (_, n) =>
      group.slice(n * size, (n + 1) * size),
    ),
  );
});

export const options = {
  scenarios: {
    link_and_unlink: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 100),
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: 50,
      maxVUs: 200,
    },
  },
  // k6 counts the duration of a call from when it leaves, and drops a call that finds no free VU.
  thresholds: {
    "http_req_duration{name:link_record}": ["p(99)<400"],
    "http_req_failed{name:link_record}": ["rate<0.001"],
    dropped_iterations: ["count==0"],
  },
};

// Gets a token, as any client does, and the id of the Deals module, which differs between orgs.
export function setup() {
  const answer = http.post(`${URL}/oauth/v2/token`, {
    grant_type: "refresh_token",
    client_id: "demo",
    client_secret: "demo",
    refresh_token: "demo",
  });
  const headers = {
    Authorization: `Zoho-oauthtoken ${answer.json("access_token")}`,
    "Content-Type": "application/json",
  };
  const modules = http.get(`${URL}/crm/v8/settings/modules/Deals`, { headers });
  return { headers, module: modules.json("modules.0.id") };
}

export default function ({ headers, module }) {
  const call = exec.scenario.iterationInTest;
  const batch = batches[call % batches.length];
  const isLink = Math.floor(call / batches.length) % 2 === 0;
  const address = `${URL}/crm/v8/Contacts/${batch[0].contact_id}/Emails/actions/link_record`;
  const response = isLink
    ? http.post(address, linkBody(batch, module), { headers, tags: CALL })
    : http.del(`${address}?${unlinkQuery(batch)}`, null, { headers, tags: CALL });
  check(response, {
    "every email changed": (answer) =>
      answer.status === 200 && answer.json("Emails").every((email) => email.code === "SUCCESS"),
  });
}

function linkBody(batch, module) {
  const emails = batch.map((row) => ({
    message_id: row.message_id,
    owner: { id: row.owner_id, name: row.owner_name },
    linked_record: {
      module: { api_name: "Deals", id: module },
      id: row.deal_id,
      name: row.deal_name,
    },
  }));
  return JSON.stringify({ Emails: emails });
}

function unlinkQuery(batch) {
  const ids = batch.map((row) => row.message_id).join(",");
  return `owner_id=${batch[0].owner_id}&message_ids=${ids}`;
}
