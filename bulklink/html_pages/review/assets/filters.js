// Filters of the list. Each field of the form has the name of a test; an empty value passes all.

const filterForm = document.getElementById("filters");

const hasSlot = (conversation, test) => slotsOf(conversation).some((slot) => test(slot));
const emailOf = (slot) => review.slots[slot].email;

const FILTERS = {
  tier: (value) => (conversation) => hasSlot(conversation, (slot) => emailOf(slot).tier === value),
  kind: (value) => (conversation) => hasSlot(conversation, (slot) => emailOf(slot).kind === value),
  state: (value) => (conversation) => {
    const state = stateOf(conversation);
    return state === value || (state === "partly" && value !== "partly" && hasState(conversation, value));
  },
  reason: (value) => ({ candidates }) =>
    candidates[0].evidence.some(({ name, weight }) => name === value && weight > 0),
  deal: (value) => {
    const wanted = value.trim().toLowerCase();
    const matches = (deal) =>
      deal !== null && (deal[0] === wanted || (deal[1] ?? "").toLowerCase().includes(wanted));
    return ({ candidates, emails }) =>
      matches(candidates[0].deal) || emails.some(({ kind, deal }) => kind !== null && matches(deal));
  },
  text: (value) => {
    const wanted = value.trim().toLowerCase();
    return ({ words }) => words.includes(wanted);
  },
};

const hasState = (conversation, value) =>
  hasSlot(conversation, (slot) => {
    const state = Math.min(decided(slot), FIRST_CANDIDATE);
    return ["open", "rejected", "accepted"][state] === value;
  });

const filterValues = () => Object.fromEntries(new FormData(filterForm));

const filterConversations = () => {
  const tests = Object.entries(filterValues())
    .filter(([, value]) => value.trim())
    .map(([name, value]) => FILTERS[name](value));
  return review.conversations.filter((one) => tests.every((test) => test(one)));
};

// What a bulk action accepts: open slots of a tier, of the kind that is shown. Proposals of the tier
// `look` are only ever accepted one by one.
const bulkTest = () => {
  const { kind, tier } = filterValues();
  const tiers = BULK_TIERS.filter((one) => !tier || one === tier);
  return (slot) => {
    const email = emailOf(slot);
    const matches = tiers.includes(email.tier) && (!kind || email.kind === kind);
    return matches && decided(slot) === OPEN && isSendable(email);
  };
};

const bulkSlots = (tier) => {
  const isBulk = bulkTest();
  const slots = [];
  for (const conversation of list.shown) {
    for (const slot of slotsOf(conversation)) {
      if (emailOf(slot).tier === tier && isBulk(slot)) slots.push(slot);
    }
  }
  return slots;
};

const addOptions = (name, options) => {
  const select = filterForm.elements[name];
  for (const [value, label] of options) {
    const option = create("option", label);
    option.value = value;
    select.append(option);
  }
};

const MOST_DEALS = 200;

const fillFilters = async () => {
  const reasons = new Map();
  const deals = new Map();
  await inSlices(review.conversations, ({ candidates: [{ deal, evidence }] }) => {
    if (deal) deals.set(deal[1] ?? deal[0], (deals.get(deal[1] ?? deal[0]) ?? 0) + 1);
    for (const { name, text, weight } of evidence) {
      if (weight > 0 && !reasons.has(name)) reasons.set(name, visible(text));
    }
  });
  addOptions("reason", [...reasons].sort(([, a], [, b]) => (a < b ? -1 : 1)));
  const list = document.getElementById("deals");
  const repeated = [...deals].filter(([, conversations]) => conversations > 1);
  const commonest = repeated.sort(([, a], [, b]) => b - a).slice(0, MOST_DEALS);
  for (const [name] of commonest) list.append(Object.assign(create("option"), { value: name }));
};
