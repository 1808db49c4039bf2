// The mapping of what is accepted: the columns of the audit's own mapping, in its order.

const acceptedChange = (slot) => {
  const { conversation, email } = review.slots[slot];
  const candidate = acceptedCandidate(slot);
  const change = candidate && changeOf(email, candidate);
  return change && { conversation, email, candidate, change };
};

const acceptedChanges = () => [...review.slots.keys()].map(acceptedChange).filter(Boolean);

const mappingRow = ({ conversation, email, candidate, change }) => {
  const { candidates } = conversation;
  const other = candidates.find((one) => one !== candidate);
  const reasons = candidate.evidence.filter(({ weight }) => weight > 0).map(({ text }) => text);
  return {
    contact_id: conversation.contact,
    owner_id: email.owner[0],
    owner_name: email.owner[1],
    message_id: email.id,
    deal_id: candidate.deal?.[0],
    deal_name: candidate.deal?.[1],
    from_deal_id: change.from,
    op: change.op,
    kind: change.kind,
    tier: candidate === candidates[0] ? email.tier : null,
    confidence: candidate.confidence,
    rule: email.rule,
    reasons: reasons.join("; "),
    runner_up_deal_id: other && dealIdOf(other),
    runner_up_deal_name: other?.deal?.[1],
    subject: email.subject,
    time: email.time,
    accept: "yes",
  };
};

const mappingRows = (changes) =>
  [...changes].sort((a, b) => byPlace(a.conversation, b.conversation)).map((change) => {
    const row = mappingRow(change);
    return review.facts.columns.map((column) => row[column]);
  });

const mappingText = (changes) =>
  [review.facts.columns, ...mappingRows(changes)].map(csvLine).join("");
