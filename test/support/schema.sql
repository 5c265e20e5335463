-- tables
table api_key
  id uuid not null
  tenant_id uuid not null
  name text not null
  digest bytea not null comment 'HMAC-SHA-256 of the key under KEY_PEPPER; the key itself is never stored.'
  hint text not null
  allowed_models text[]
  expires_at timestamp with time zone
  revoked_at timestamp with time zone
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
  user_id uuid comment 'A user or group that keys name is not deleted.'
  group_id uuid
  budget_nano_usd bigint
  limit_5h_nano_usd bigint
  limit_1d_nano_usd bigint
  limit_7d_nano_usd bigint
table audit_log
  id bigint not null generated always as identity
  actor text not null
  action text not null
  entity text not null
  entity_id text not null
  before jsonb
  after jsonb
  at timestamp with time zone not null default now()
table billing_transaction with (fillfactor=70)
  comment 'One row a charge. id is the hold''s id; id and trace_id are UUIDv7, so a time range is an id range. A settle changes no indexed column. No foreign keys: keys and upstreams may vanish, their names are copied in.'
  id uuid not null
  tenant_id uuid not null
  trace_id uuid not null
  type text not null
  status text not null
  channel text not null
  is_stream boolean not null default false
  epoch bigint not null default 0
  process_id uuid
  hold_nano_usd bigint not null default 0
  amount_nano_usd bigint not null default 0
  refunded_nano_usd bigint not null default 0
  credit_limit_nano_usd bigint not null default 0
  balance_before_nano_usd bigint
  balance_after_nano_usd bigint
  funding text not null default 'wallet'::text
  day_window_start timestamp with time zone
  month_window_start timestamp with time zone
  api_key_id uuid
  api_key_name text
  model text
  upstream_id uuid
  upstream_name text
  provider_name text
  price_version bigint
  prices jsonb
  tokens_input_uncached bigint not null default 0
  tokens_input_cached bigint not null default 0
  tokens_cache_write bigint not null default 0
  tokens_output bigint not null default 0
  tokens_reasoning bigint not null default 0
  tokens_audio bigint not null default 0
  tokens_image bigint not null default 0
  counting_method text
  end_reason text
  reason_code text
  description text
  reversed_by uuid
  created_at timestamp with time zone not null default now()
  ended_at timestamp with time zone
  scopes jsonb comment '[[counter, measure, start ms, end ms], ...]: the windows this charge counts in, frozen at the reserve; measure r is one request, u its amount in nano-USD.'
  extended_nano_usd bigint not null default 0 comment 'What of the hold was added after its admission.'
  checkpoint jsonb comment 'Tokens by bucket that had been delivered when this was written: what is charged where the process dies.'
  input_tokens_estimate bigint not null default 0 comment 'Of the request, at admission: what is charged of a dead process'' charge without checkpoint where the policy says so.'
  original_transaction_id uuid comment 'Of a refund, credit note or correction: the charge it belongs to; of an adjustment that corrects one, that. Null in charges and in what belongs to none.'
  upstream_cost_nano_usd bigint not null default 0 comment 'What the served attempt costs us: its tokens at the upstream''s own cost price, frozen when the attempt started. 0 where nothing was charged: transfers of kind upstream_cost say what the house pays then. Of a correction of what the sweeper had charged it is the difference, which may be below 0.'
table free_allowance
  comment 'Calls a calendar month that nobody pays for. Made from FREE_ALLOWANCES when a key of the tenant is first looked up.'
  tenant_id uuid not null
  service text not null
  monthly_calls bigint not null
  created_at timestamp with time zone not null default now()
table gateway_process
  id uuid not null
  host text not null
  pid integer not null
  status text not null default 'alive'::text
  beat bigint not null default 0
  oldest_open_id uuid not null comment 'Every open charge of this process has an id ≥ this, as of its last beat: where the sweeper starts to look.'
  started_at timestamp with time zone not null default now()
  beat_at timestamp with time zone not null default now()
table group_rpm_override
  tenant_id uuid not null
  group_id uuid not null
  user_id uuid not null
  rpm_limit bigint not null comment 'Replaces the group''s for this user; 0: exempt.'
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
table idempotency_key
  comment 'One row an Idempotency-Key of an API key, for 24 hours. No foreign keys: a key or a process that is deleted meanwhile makes no write fail. Whether the answer may be replayed, billing_transaction says: only while the charge of trace_id stands. Hashes are SHA-256: of the key, and of route and body. Prompts and answers are nowhere in clear.'
  api_key_id uuid not null
  key_hash bytea not null
  tenant_id uuid not null
  request_hash bytea not null
  trace_id uuid not null
  process_id uuid not null
  state text not null default 'running'::text comment 'running: being answered by process_id. stored: the answer is kept, its charge may not stand yet. answered: and what its client was told. unkept: too large to keep, or not kept in time.'
  sealed_answer bytea comment 'AES-256-GCM with API key, key and trace id as associated data: it opens in its own row only. Written before the settle.'
  sealed_tail bytea comment 'What is known of the answer only after its settle: cost headers, and the end of a stream with the cost in it.'
  created_at timestamp with time zone not null default now()
  expires_at timestamp with time zone not null
table ledger_account with (fillfactor=50)
  comment 'posted = credits − debits. A tenant''s accounts keep it, with a gapless version, in the transaction of the transfer; house accounts (tenant_id null) keep none: theirs is the sum of their transfers, so that no row is hot. The bound of 9,000,000 USD is the doubles'' 2^53 in Redis Lua, which adds posted and credit limit: each of them, and their sum, is exact there, and no more than that sum is ever held. A wallet pays down to -(credit limit) and no charge takes it lower, so no charge can be refused by this. overrun is not in Redis: whatever an answer cost must be booked.'
  id uuid not null
  tenant_id uuid
  name text not null
  posted_nano_usd bigint
  credit_limit_nano_usd bigint not null default 0
  version bigint not null default 0
  created_at timestamp with time zone not null default now()
table ledger_opening_balance
  comment 'What the transfers up to the end of a month came to, written in the transaction that takes the month out of ledger_transfer; one row for every account that had any until then, the house''s, too. The newest month counts: an account has posted its opening balance and the sum of its transfers.'
  month date not null
  account_id uuid not null
  posted_nano_usd numeric not null
  version bigint not null comment 'How many changes of the account were taken out; 0 on the house side.'
  created_at timestamp with time zone not null default now()
table ledger_transfer partition by RANGE (created_at)
  comment 'Append-only double entry: one row debits and credits the same amount, so every row sums to zero. The version columns number the changes of a tenant''s account without gaps (null on the house side), unique in each month. No foreign keys: accounts are never deleted, and a key check would lock the house''s rows in every charge. Months whose opening balances stand may have been taken out (ledger_begins_at).'
  id bigint not null default nextval('ledger_transfer_id_seq'::regclass)
  kind text not null
  transaction_id uuid not null
  debit_account_id uuid not null
  credit_account_id uuid not null
  amount_nano_usd bigint not null
  debit_version bigint
  credit_version bigint
  reason_code text
  created_at timestamp with time zone not null default clock_timestamp()
table ledger_transfer_default partition of ledger_transfer DEFAULT
  id bigint not null default nextval('ledger_transfer_id_seq'::regclass)
  kind text not null
  transaction_id uuid not null
  debit_account_id uuid not null
  credit_account_id uuid not null
  amount_nano_usd bigint not null
  debit_version bigint
  credit_version bigint
  reason_code text
  created_at timestamp with time zone not null default clock_timestamp()
table model_alias
  comment 'Another name of a model: what is asked for by alias is routed, priced and recorded as the model. Never of another alias.'
  alias text not null
  model text not null
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
table model_fallback
  comment 'Models that answer in place of one whose upstreams all failed before the first byte, in the order of position.'
  model text not null
  position smallint not null
  fallback_model text not null
  created_at timestamp with time zone not null default now()
table model_profile
  model text not null
  is_reasoning boolean not null default false
  default_output_reserve_tokens integer not null default 1024
  max_output_tokens integer
  tokens_per_image integer not null default 1500
table price
  comment 'Versioned: rows are added, never changed; the id is the price version a receipt names.'
  id bigint not null generated always as identity
  model text not null
  effective_from timestamp with time zone not null default now()
  input_uncached_nano_usd_per_mtok bigint not null
  input_cached_nano_usd_per_mtok bigint not null
  cache_write_nano_usd_per_mtok bigint not null
  output_nano_usd_per_mtok bigint not null
  reasoning_nano_usd_per_mtok bigint not null
  audio_nano_usd_per_mtok bigint not null
  image_nano_usd_per_mtok bigint not null
  per_request_nano_usd bigint not null default 0
  created_at timestamp with time zone not null default now()
  tiers jsonb not null default '[]'::jsonb comment 'Prices from above a number of input tokens on, for the whole call, ascending; nano-USD a million tokens as text.'
  source text not null default 'manual'::text comment 'Where it came from: written by hand, or the list that was imported.'
table provider
  id uuid not null
  name text not null
  kind text not null
  base_url text not null
  api_key_encrypted bytea not null
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
  dialects text[] not null default '{openai-chat,openai-embeddings}'::text[] comment 'The API dialects it speaks, each once.'
table quota_authority
  comment 'Which projection of the ledger is current: the epoch, and the one Redis server that has it (null before the first). run_id changes only together with epoch. address is how it was reached, for whoever looks for it.'
  only_row boolean not null default true
  epoch bigint not null
  run_id text
  address text
  changed_at timestamp with time zone not null default now()
  mode text not null default 'redis'::text comment 'Who reserves in this epoch: the one Redis server of run_id, or Postgres (quota_reserve), which has no server.'
table quota_counter with (fillfactor=50)
  comment 'Requests or nano-USD of the COMMITTED charges of a counter''s newest window (start and end 0: its whole life). What open charges hold comes on top, from their rows. Written by billing_end, under the tenant''s wallet row.'
  tenant_id uuid not null
  counter text not null
  window_start_ms bigint not null
  window_end_ms bigint not null
  used bigint not null
  counted bigint not null default 0 comment 'What of used came from charges that name this window; the rest a request quota found there when it was first met.'
table quota_follower
  comment 'Which Redis server each living process leads to: while one leads to the current server, nobody takes the authority back to a server that was demoted.'
  process_id uuid not null
  run_id text not null
  beat bigint not null default 0
  epoch bigint not null default 0
  seen_ms bigint not null default 0 comment 'In mode postgres: for how long of this epoch the process has seen the server answer without a break, by its own monotonic clock, as of its last beat. Redis decides again once every living process has seen the same one long enough.'
table re_rating
  comment 'A range of charges as they would cost at another price version: planned by a dry run, and booked as it was seen.'
  id uuid not null
  model text not null
  from_at timestamp with time zone not null
  to_at timestamp with time zone not null
  tenant_id uuid
  price_version bigint not null
  charges_differences boolean not null comment 'Whether charges that were too cheap are debited the difference.'
  charges bigint not null comment 'How many charges were looked at; those whose cost differs have a line.'
  planned_by text not null
  planned_at timestamp with time zone not null default now()
  applied_by text
  applying_since timestamp with time zone
table re_rating_line
  re_rating_id uuid not null
  charge_id uuid not null
  tenant_id uuid not null
  old_price_version bigint
  rated_nano_usd bigint not null comment 'What the charge came to when it was planned: its amount, less and plus what earlier re-ratings had booked.'
  re_rated_nano_usd bigint not null
  due_nano_usd bigint not null comment 'What is to be booked: above 0 a credit note of so much, below 0 a debit. 0 where nothing is: all was given back, the charge was too cheap and differences are not charged, or it was not the tenant''s own money.'
  booked_nano_usd bigint comment 'Null until its turn came. Never beyond what is due; less where less was left of the charge by then.'
  transaction_id uuid
  refusal text comment 'Why nothing could be booked, such as an account without room.'
table request_attempt partition by RANGE (request_id)
  comment 'One row for each upstream that a request was sent to. Operational: losing a row costs no money. Names are copied in; upstream_id is null once the upstream is deleted.'
  request_id uuid not null
  attempt smallint not null
  tenant_id uuid not null
  model text
  upstream_id uuid
  upstream_name text
  provider_name text
  status integer comment 'Of the upstream''s answer; null where none came.'
  outcome text not null
  is_served boolean not null
  ttft_ms integer
  duration_ms integer not null
  tokens jsonb comment 'By bucket, only those that are not empty.'
  upstream_cost_nano_usd bigint not null default 0
  paid_by text not null
  created_at timestamp with time zone not null default now()
table request_attempt_default partition of request_attempt DEFAULT
  request_id uuid not null
  attempt smallint not null
  tenant_id uuid not null
  model text
  upstream_id uuid
  upstream_name text
  provider_name text
  status integer
  outcome text not null
  is_served boolean not null
  ttft_ms integer
  duration_ms integer not null
  tokens jsonb
  upstream_cost_nano_usd bigint not null default 0
  paid_by text not null
  created_at timestamp with time zone not null default now()
table request_billing_snapshot
  comment 'Immutable: everything needed to compute the amount again.'
  transaction_id uuid not null
  tenant_id uuid not null
  arithmetic jsonb not null
  created_at timestamp with time zone not null default now()
table request_log partition by RANGE (id)
  comment 'Operational record; id is the trace id. Losing a row costs no money.'
  id uuid not null
  tenant_id uuid not null
  api_key_id uuid
  client_request_id text
  channel text not null
  route text not null
  model text
  is_stream boolean not null
  status integer not null
  error_code text
  end_reason text
  duration_ms integer not null
  ttft_ms integer
  created_at timestamp with time zone not null default now()
  usage jsonb comment 'Of a call that RUN_MODE=simple did not charge: tokens by bucket, how they were counted, the price version and what the call would have cost. Null where a charge says it.'
table request_log_default partition of request_log DEFAULT
  id uuid not null
  tenant_id uuid not null
  api_key_id uuid
  client_request_id text
  channel text not null
  route text not null
  model text
  is_stream boolean not null
  status integer not null
  error_code text
  end_reason text
  duration_ms integer not null
  ttft_ms integer
  created_at timestamp with time zone not null default now()
  usage jsonb
table subscription
  comment 'Closed, never deleted: money rows name it for ever. For every key of its group, or for those of one user in it.'
  id uuid not null
  tenant_id uuid not null
  group_id uuid not null
  user_id uuid
  status text not null default 'active'::text
  starts_at timestamp with time zone not null
  ends_at timestamp with time zone
  daily_limit_nano_usd bigint
  weekly_limit_nano_usd bigint
  monthly_limit_nano_usd bigint
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
table tenant
  comment 'Closed, never deleted: money rows name it for ever. Null quotas and limits are unlimited.'
  id uuid not null
  name text not null
  status text not null default 'active'::text
  timezone text not null
  daily_quota bigint
  monthly_quota bigint
  unknown_price_policy text not null default 'reject'::text
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
  rpm_limit bigint
  tpm_limit bigint
  concurrency_limit bigint
table tenant_group
  id uuid not null
  tenant_id uuid not null
  name text not null
  kind text not null comment 'A key in a subscription group pays by subscription only. Never changes.'
  rpm_limit bigint comment 'Of each user in the group; null is none.'
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
  price_multiplier_millionths bigint not null default 1000000 comment 'Times this costs a call by a key of the group: 1000000 is once. Frozen with the price of each call.'
table tenant_projection
  comment 'The install of a tenant''s projection that may be active in Redis. Neither active nor waiting there in the same epoch means that it was lost.'
  tenant_id uuid not null
  epoch bigint not null
  install_id uuid not null
  installed_at timestamp with time zone not null default now()
table tenant_user
  id uuid not null
  tenant_id uuid not null
  name text not null
  external_id text comment 'What the tenant itself calls the user.'
  status text not null default 'active'::text
  rpm_limit bigint comment 'A ceiling whatever group and override say; null is none.'
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
table upstream
  id uuid not null
  provider_id uuid not null
  name text not null
  model text not null
  upstream_model text not null
  priority integer not null default 0
  weight integer not null default 100
  timeout_ms integer
  enabled boolean not null default true
  cost_input_nano_usd_per_mtok bigint not null default 0
  cost_output_nano_usd_per_mtok bigint not null default 0
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()
  cost_cached_input_nano_usd_per_mtok bigint comment 'Null: as input.'
  cost_cache_write_nano_usd_per_mtok bigint comment 'Null: as input.'
  max_concurrency integer comment 'Calls under way in one gateway process; null is no limit.'
  region text comment 'Where it runs, a tag such as eu: a call may ask for one.'
table user_platform_quota
  comment 'What a user may spend at providers of one kind where the tenant''s own money pays. Null limits are unlimited.'
  id uuid not null
  tenant_id uuid not null
  user_id uuid not null
  platform text not null
  daily_limit_nano_usd bigint
  weekly_limit_nano_usd bigint
  monthly_limit_nano_usd bigint
  created_at timestamp with time zone not null default now()
  updated_at timestamp with time zone not null default now()

-- constraints
api_key.api_key_budget_nano_usd_check CHECK (((budget_nano_usd >= 0) AND (budget_nano_usd <= '9000000000000000'::bigint)));
api_key.api_key_digest_check CHECK ((length(digest) = 32));
api_key.api_key_digest_key UNIQUE (digest);
api_key.api_key_limit_1d_nano_usd_check CHECK (((limit_1d_nano_usd >= 0) AND (limit_1d_nano_usd <= '9000000000000000'::bigint)));
api_key.api_key_limit_5h_nano_usd_check CHECK (((limit_5h_nano_usd >= 0) AND (limit_5h_nano_usd <= '9000000000000000'::bigint)));
api_key.api_key_limit_7d_nano_usd_check CHECK (((limit_7d_nano_usd >= 0) AND (limit_7d_nano_usd <= '9000000000000000'::bigint)));
api_key.api_key_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
api_key.api_key_pkey PRIMARY KEY (id);
api_key.api_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id);
api_key.api_key_tenant_id_group_id_fkey FOREIGN KEY (tenant_id, group_id) REFERENCES tenant_group(tenant_id, id);
api_key.api_key_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user(tenant_id, id);
audit_log.audit_log_pkey PRIMARY KEY (id);
billing_transaction.billing_transaction_channel_check CHECK ((channel = ANY (ARRAY['external'::text, 'internal'::text, 'admin'::text])));
billing_transaction.billing_transaction_check CHECK (((refunded_nano_usd >= 0) AND (refunded_nano_usd <= GREATEST(amount_nano_usd, (0)::bigint))));
billing_transaction.billing_transaction_check1 CHECK (((status = 'PENDING'::text) = (ended_at IS NULL)));
billing_transaction.billing_transaction_check2 CHECK (((type <> 'charge'::text) OR (amount_nano_usd >= 0)));
billing_transaction.billing_transaction_check3 CHECK ((original_transaction_id <> id));
billing_transaction.billing_transaction_counting_method_check CHECK ((counting_method = ANY (ARRAY['usage'::text, 'tokenizer'::text, 'estimated'::text])));
billing_transaction.billing_transaction_credit_note_check CHECK (((type <> 'credit_note'::text) OR ((original_transaction_id IS NOT NULL) AND (amount_nano_usd > 0))));
billing_transaction.billing_transaction_extended_nano_usd_check CHECK ((extended_nano_usd >= 0));
billing_transaction.billing_transaction_funding_check CHECK ((funding = ANY (ARRAY['wallet'::text, 'allowance'::text, 'subscription'::text])));
billing_transaction.billing_transaction_hold_nano_usd_check CHECK ((hold_nano_usd >= 0));
billing_transaction.billing_transaction_input_tokens_estimate_check CHECK ((input_tokens_estimate >= 0));
billing_transaction.billing_transaction_pkey PRIMARY KEY (id);
billing_transaction.billing_transaction_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'COMMITTED'::text, 'VOIDED'::text])));
billing_transaction.billing_transaction_tenant_id_trace_id_key UNIQUE (tenant_id, trace_id);
billing_transaction.billing_transaction_tokens_audio_check CHECK ((tokens_audio >= 0));
billing_transaction.billing_transaction_tokens_cache_write_check CHECK ((tokens_cache_write >= 0));
billing_transaction.billing_transaction_tokens_image_check CHECK ((tokens_image >= 0));
billing_transaction.billing_transaction_tokens_input_cached_check CHECK ((tokens_input_cached >= 0));
billing_transaction.billing_transaction_tokens_input_uncached_check CHECK ((tokens_input_uncached >= 0));
billing_transaction.billing_transaction_tokens_output_check CHECK ((tokens_output >= 0));
billing_transaction.billing_transaction_tokens_reasoning_check CHECK ((tokens_reasoning >= 0));
billing_transaction.billing_transaction_type_check CHECK ((type = ANY (ARRAY['charge'::text, 'recharge'::text, 'adjustment'::text, 'refund'::text, 'correction'::text, 'credit_note'::text])));
free_allowance.free_allowance_monthly_calls_check CHECK (((monthly_calls >= 0) AND (monthly_calls <= '1000000000000'::bigint)));
free_allowance.free_allowance_pkey PRIMARY KEY (tenant_id, service);
free_allowance.free_allowance_service_check CHECK ((service ~ '^[a-z][a-z0-9_]{0,63}$'::text));
free_allowance.free_allowance_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id);
gateway_process.gateway_process_pkey PRIMARY KEY (id);
gateway_process.gateway_process_status_check CHECK ((status = ANY (ARRAY['alive'::text, 'ended'::text, 'dead'::text, 'swept'::text])));
group_rpm_override.group_rpm_override_pkey PRIMARY KEY (group_id, user_id);
group_rpm_override.group_rpm_override_rpm_limit_check CHECK (((rpm_limit >= 0) AND (rpm_limit <= '1000000000000'::bigint)));
group_rpm_override.group_rpm_override_tenant_id_group_id_fkey FOREIGN KEY (tenant_id, group_id) REFERENCES tenant_group(tenant_id, id) ON DELETE CASCADE;
group_rpm_override.group_rpm_override_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user(tenant_id, id) ON DELETE CASCADE;
idempotency_key.idempotency_key_check CHECK (((sealed_answer IS NOT NULL) = (state = ANY (ARRAY['stored'::text, 'answered'::text]))));
idempotency_key.idempotency_key_check1 CHECK (((sealed_tail IS NULL) OR (state = 'answered'::text)));
idempotency_key.idempotency_key_key_hash_check CHECK ((octet_length(key_hash) = 32));
idempotency_key.idempotency_key_pkey PRIMARY KEY (api_key_id, key_hash);
idempotency_key.idempotency_key_request_hash_check CHECK ((octet_length(request_hash) = 32));
idempotency_key.idempotency_key_sealed_answer_check CHECK ((octet_length(sealed_answer) <= 1052672));
idempotency_key.idempotency_key_sealed_tail_check CHECK ((octet_length(sealed_tail) <= 65536));
idempotency_key.idempotency_key_state_check CHECK ((state = ANY (ARRAY['running'::text, 'stored'::text, 'answered'::text, 'unkept'::text])));
ledger_account.ledger_account_check CHECK (((tenant_id IS NULL) = (posted_nano_usd IS NULL)));
ledger_account.ledger_account_check1 CHECK (((name = 'overrun'::text) OR ((posted_nano_usd >= '-9000000000000000'::bigint) AND (credit_limit_nano_usd <= '9000000000000000'::bigint) AND ((posted_nano_usd + credit_limit_nano_usd) <= '9000000000000000'::bigint))));
ledger_account.ledger_account_credit_limit_nano_usd_check CHECK ((credit_limit_nano_usd >= 0));
ledger_account.ledger_account_pkey PRIMARY KEY (id);
ledger_account.ledger_account_promo_check CHECK (((name <> 'promo'::text) OR ((posted_nano_usd >= 0) AND (posted_nano_usd <= '7000000000000'::bigint))));
ledger_account.ledger_account_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id);
ledger_account.ledger_account_tenant_id_name_key UNIQUE NULLS NOT DISTINCT (tenant_id, name);
ledger_account.ledger_account_version_check CHECK ((version >= 0));
ledger_opening_balance.ledger_opening_balance_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric));
ledger_opening_balance.ledger_opening_balance_pkey PRIMARY KEY (month, account_id);
ledger_opening_balance.ledger_opening_balance_version_check CHECK ((version >= 0));
ledger_transfer.ledger_transfer_amount_nano_usd_check CHECK ((amount_nano_usd > 0));
ledger_transfer.ledger_transfer_check CHECK ((debit_account_id <> credit_account_id));
ledger_transfer.ledger_transfer_credit_version_check CHECK ((credit_version > 0));
ledger_transfer.ledger_transfer_debit_version_check CHECK ((debit_version > 0));
ledger_transfer.ledger_transfer_kind_check CHECK ((kind = ANY (ARRAY['charge'::text, 'recharge'::text, 'adjustment'::text, 'overrun_repayment'::text, 'refund'::text, 'correction'::text, 'credit_note'::text, 'upstream_cost'::text])));
ledger_transfer.ledger_transfer_pkey PRIMARY KEY (id, created_at);
ledger_transfer_default.ledger_transfer_amount_nano_usd_check CHECK ((amount_nano_usd > 0));
ledger_transfer_default.ledger_transfer_check CHECK ((debit_account_id <> credit_account_id));
ledger_transfer_default.ledger_transfer_credit_version_check CHECK ((credit_version > 0));
ledger_transfer_default.ledger_transfer_debit_version_check CHECK ((debit_version > 0));
ledger_transfer_default.ledger_transfer_default_pkey PRIMARY KEY (id, created_at);
ledger_transfer_default.ledger_transfer_kind_check CHECK ((kind = ANY (ARRAY['charge'::text, 'recharge'::text, 'adjustment'::text, 'overrun_repayment'::text, 'refund'::text, 'correction'::text, 'credit_note'::text, 'upstream_cost'::text])));
model_alias.model_alias_alias_check CHECK ((((length(alias) >= 1) AND (length(alias) <= 200)) AND (alias !~ '^\s|\s$'::text)));
model_alias.model_alias_model_check CHECK ((((length(model) >= 1) AND (length(model) <= 200)) AND (model !~ '^\s|\s$'::text)));
model_alias.model_alias_names_another CHECK ((alias <> model));
model_alias.model_alias_pkey PRIMARY KEY (alias);
model_fallback.model_fallback_fallback_model_check CHECK ((((length(fallback_model) >= 1) AND (length(fallback_model) <= 200)) AND (fallback_model !~ '^\s|\s$'::text)));
model_fallback.model_fallback_model_check CHECK ((((length(model) >= 1) AND (length(model) <= 200)) AND (model !~ '^\s|\s$'::text)));
model_fallback.model_fallback_model_fallback_model_key UNIQUE (model, fallback_model);
model_fallback.model_fallback_names_another CHECK ((model <> fallback_model));
model_fallback.model_fallback_pkey PRIMARY KEY (model, "position");
model_fallback.model_fallback_position_check CHECK ((("position" >= 0) AND ("position" <= 9)));
model_profile.model_profile_default_output_reserve_tokens_check CHECK ((default_output_reserve_tokens > 0));
model_profile.model_profile_max_output_tokens_check CHECK ((max_output_tokens > 0));
model_profile.model_profile_pkey PRIMARY KEY (model);
model_profile.model_profile_tokens_per_image_check CHECK ((tokens_per_image >= 0));
price.price_audio_nano_usd_per_mtok_check CHECK ((audio_nano_usd_per_mtok >= 0));
price.price_cache_write_nano_usd_per_mtok_check CHECK ((cache_write_nano_usd_per_mtok >= 0));
price.price_image_nano_usd_per_mtok_check CHECK ((image_nano_usd_per_mtok >= 0));
price.price_input_cached_nano_usd_per_mtok_check CHECK ((input_cached_nano_usd_per_mtok >= 0));
price.price_input_uncached_nano_usd_per_mtok_check CHECK ((input_uncached_nano_usd_per_mtok >= 0));
price.price_model_check CHECK (((length(model) >= 1) AND (length(model) <= 200)));
price.price_output_nano_usd_per_mtok_check CHECK ((output_nano_usd_per_mtok >= 0));
price.price_per_request_nano_usd_check CHECK ((per_request_nano_usd >= 0));
price.price_pkey PRIMARY KEY (id);
price.price_reasoning_nano_usd_per_mtok_check CHECK ((reasoning_nano_usd_per_mtok >= 0));
price.price_source_check CHECK (((length(source) >= 1) AND (length(source) <= 200)));
price.price_tiers_check CHECK (are_price_tiers(tiers));
provider.provider_dialects_check CHECK (((cardinality(dialects) > 0) AND (dialects <@ '{openai-chat,openai-responses,anthropic-messages,openai-embeddings}'::text[]) AND ((kind <> 'anthropic'::text) OR (dialects = '{anthropic-messages}'::text[]))));
provider.provider_kind_check CHECK ((kind = ANY (ARRAY['openai'::text, 'anthropic'::text])));
provider.provider_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
provider.provider_name_key UNIQUE (name);
provider.provider_pkey PRIMARY KEY (id);
quota_authority.quota_authority_check CHECK (((mode = 'redis'::text) OR (run_id IS NULL)));
quota_authority.quota_authority_epoch_check CHECK ((epoch > 0));
quota_authority.quota_authority_mode_check CHECK ((mode = ANY (ARRAY['redis'::text, 'postgres'::text])));
quota_authority.quota_authority_only_row_check CHECK (only_row);
quota_authority.quota_authority_pkey PRIMARY KEY (only_row);
quota_counter.quota_counter_pkey PRIMARY KEY (tenant_id, counter);
quota_follower.quota_follower_pkey PRIMARY KEY (process_id);
quota_follower.quota_follower_seen_ms_check CHECK ((seen_ms >= 0));
re_rating.re_rating_charges_check CHECK ((charges >= 0));
re_rating.re_rating_check CHECK ((to_at > from_at));
re_rating.re_rating_check1 CHECK (((applied_by IS NULL) = (applying_since IS NULL)));
re_rating.re_rating_pkey PRIMARY KEY (id);
re_rating_line.re_rating_line_check CHECK ((rated_nano_usd <> re_rated_nano_usd));
re_rating_line.re_rating_line_check1 CHECK (((transaction_id IS NOT NULL) = (COALESCE(booked_nano_usd, (0)::bigint) <> 0)));
re_rating_line.re_rating_line_check2 CHECK (((booked_nano_usd >= LEAST(due_nano_usd, (0)::bigint)) AND (booked_nano_usd <= GREATEST(due_nano_usd, (0)::bigint))));
re_rating_line.re_rating_line_pkey PRIMARY KEY (re_rating_id, charge_id);
re_rating_line.re_rating_line_re_rated_nano_usd_check CHECK ((re_rated_nano_usd >= 0));
re_rating_line.re_rating_line_re_rating_id_fkey FOREIGN KEY (re_rating_id) REFERENCES re_rating(id) ON DELETE CASCADE;
re_rating_line.re_rating_line_transaction_id_key UNIQUE (transaction_id);
request_attempt.request_attempt_paid_by_check CHECK ((paid_by = ANY (ARRAY['tenant'::text, 'house'::text, 'nobody'::text])));
request_attempt.request_attempt_pkey PRIMARY KEY (request_id, attempt);
request_attempt.request_attempt_upstream_id_fkey FOREIGN KEY (upstream_id) REFERENCES upstream(id) ON DELETE SET NULL;
request_attempt_default.request_attempt_default_pkey PRIMARY KEY (request_id, attempt);
request_attempt_default.request_attempt_paid_by_check CHECK ((paid_by = ANY (ARRAY['tenant'::text, 'house'::text, 'nobody'::text])));
request_attempt_default.request_attempt_upstream_id_fkey FOREIGN KEY (upstream_id) REFERENCES upstream(id) ON DELETE SET NULL;
request_billing_snapshot.request_billing_snapshot_pkey PRIMARY KEY (transaction_id);
request_log.request_log_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_key(id) ON DELETE SET NULL;
request_log.request_log_pkey PRIMARY KEY (id);
request_log_default.request_log_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_key(id) ON DELETE SET NULL;
request_log_default.request_log_default_pkey PRIMARY KEY (id);
subscription.subscription_check CHECK ((ends_at > starts_at));
subscription.subscription_daily_limit_nano_usd_check CHECK (((daily_limit_nano_usd >= 0) AND (daily_limit_nano_usd <= '9000000000000000'::bigint)));
subscription.subscription_monthly_limit_nano_usd_check CHECK (((monthly_limit_nano_usd >= 0) AND (monthly_limit_nano_usd <= '9000000000000000'::bigint)));
subscription.subscription_pkey PRIMARY KEY (id);
subscription.subscription_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text, 'cancelled'::text, 'closed'::text])));
subscription.subscription_tenant_id_group_id_fkey FOREIGN KEY (tenant_id, group_id) REFERENCES tenant_group(tenant_id, id);
subscription.subscription_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user(tenant_id, id);
subscription.subscription_weekly_limit_nano_usd_check CHECK (((weekly_limit_nano_usd >= 0) AND (weekly_limit_nano_usd <= '9000000000000000'::bigint)));
tenant.tenant_concurrency_limit_check CHECK (((concurrency_limit >= 0) AND (concurrency_limit <= '1000000000000'::bigint)));
tenant.tenant_daily_quota_check CHECK ((daily_quota >= 0));
tenant.tenant_monthly_quota_check CHECK ((monthly_quota >= 0));
tenant.tenant_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
tenant.tenant_pkey PRIMARY KEY (id);
tenant.tenant_rpm_limit_check CHECK (((rpm_limit >= 0) AND (rpm_limit <= '1000000000000'::bigint)));
tenant.tenant_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text, 'closed'::text])));
tenant.tenant_tpm_limit_check CHECK (((tpm_limit >= 0) AND (tpm_limit <= '1000000000000'::bigint)));
tenant.tenant_unknown_price_policy_check CHECK ((unknown_price_policy = ANY (ARRAY['reject'::text, 'free'::text])));
tenant_group.tenant_group_kind_check CHECK ((kind = ANY (ARRAY['standard'::text, 'subscription'::text])));
tenant_group.tenant_group_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
tenant_group.tenant_group_pkey PRIMARY KEY (id);
tenant_group.tenant_group_price_multiplier_millionths_check CHECK (((price_multiplier_millionths >= 1) AND (price_multiplier_millionths <= 100000000)));
tenant_group.tenant_group_rpm_limit_check CHECK (((rpm_limit >= 0) AND (rpm_limit <= '1000000000000'::bigint)));
tenant_group.tenant_group_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id);
tenant_group.tenant_group_tenant_id_id_key UNIQUE (tenant_id, id);
tenant_projection.tenant_projection_pkey PRIMARY KEY (tenant_id);
tenant_user.tenant_user_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200)));
tenant_user.tenant_user_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
tenant_user.tenant_user_pkey PRIMARY KEY (id);
tenant_user.tenant_user_rpm_limit_check CHECK (((rpm_limit >= 0) AND (rpm_limit <= '1000000000000'::bigint)));
tenant_user.tenant_user_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text])));
tenant_user.tenant_user_tenant_id_external_id_key UNIQUE (tenant_id, external_id);
tenant_user.tenant_user_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id);
tenant_user.tenant_user_tenant_id_id_key UNIQUE (tenant_id, id);
upstream.upstream_cost_cache_write_nano_usd_per_mtok_check CHECK ((cost_cache_write_nano_usd_per_mtok >= 0));
upstream.upstream_cost_cached_input_nano_usd_per_mtok_check CHECK ((cost_cached_input_nano_usd_per_mtok >= 0));
upstream.upstream_cost_input_nano_usd_per_mtok_check CHECK ((cost_input_nano_usd_per_mtok >= 0));
upstream.upstream_cost_output_nano_usd_per_mtok_check CHECK ((cost_output_nano_usd_per_mtok >= 0));
upstream.upstream_max_concurrency_check CHECK ((max_concurrency > 0));
upstream.upstream_model_check CHECK (((length(model) >= 1) AND (length(model) <= 200)));
upstream.upstream_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)));
upstream.upstream_pkey PRIMARY KEY (id);
upstream.upstream_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES provider(id) ON DELETE CASCADE;
upstream.upstream_region_check CHECK ((region ~ '^[a-z0-9][a-z0-9._-]{0,63}$'::text));
upstream.upstream_timeout_ms_check CHECK ((timeout_ms > 0));
upstream.upstream_upstream_model_check CHECK (((length(upstream_model) >= 1) AND (length(upstream_model) <= 200)));
upstream.upstream_weight_check CHECK (((weight >= 0) AND (weight <= 1000000)));
user_platform_quota.user_platform_quota_daily_limit_nano_usd_check CHECK (((daily_limit_nano_usd >= 0) AND (daily_limit_nano_usd <= '9000000000000000'::bigint)));
user_platform_quota.user_platform_quota_id_key UNIQUE (id);
user_platform_quota.user_platform_quota_monthly_limit_nano_usd_check CHECK (((monthly_limit_nano_usd >= 0) AND (monthly_limit_nano_usd <= '9000000000000000'::bigint)));
user_platform_quota.user_platform_quota_pkey PRIMARY KEY (user_id, platform);
user_platform_quota.user_platform_quota_platform_check CHECK ((platform ~ '^[a-z][a-z0-9_-]{0,63}$'::text));
user_platform_quota.user_platform_quota_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id) REFERENCES tenant_user(tenant_id, id) ON DELETE CASCADE;
user_platform_quota.user_platform_quota_weekly_limit_nano_usd_check CHECK (((weekly_limit_nano_usd >= 0) AND (weekly_limit_nano_usd <= '9000000000000000'::bigint)));

-- indexes
CREATE INDEX api_key_by_group ON public.api_key USING btree (group_id) WHERE (group_id IS NOT NULL);
CREATE INDEX api_key_by_tenant ON public.api_key USING btree (tenant_id, id);
CREATE INDEX api_key_by_user ON public.api_key USING btree (user_id) WHERE (user_id IS NOT NULL);
CREATE UNIQUE INDEX api_key_digest_key ON public.api_key USING btree (digest);
CREATE UNIQUE INDEX api_key_pkey ON public.api_key USING btree (id);
CREATE INDEX audit_log_by_entity ON public.audit_log USING btree (entity, id);
CREATE INDEX audit_log_by_entity_id ON public.audit_log USING btree (entity_id, id);
CREATE UNIQUE INDEX audit_log_pkey ON public.audit_log USING btree (id);
CREATE INDEX billing_transaction_by_original ON public.billing_transaction USING btree (original_transaction_id) WHERE (original_transaction_id IS NOT NULL);
CREATE UNIQUE INDEX billing_transaction_pkey ON public.billing_transaction USING btree (id);
CREATE INDEX billing_transaction_postings ON public.billing_transaction USING btree (type, id) WHERE (type <> 'charge'::text);
CREATE UNIQUE INDEX billing_transaction_tenant_id_trace_id_key ON public.billing_transaction USING btree (tenant_id, trace_id);
CREATE UNIQUE INDEX free_allowance_pkey ON public.free_allowance USING btree (tenant_id, service);
CREATE UNIQUE INDEX gateway_process_pkey ON public.gateway_process USING btree (id);
CREATE INDEX group_rpm_override_by_user ON public.group_rpm_override USING btree (user_id);
CREATE UNIQUE INDEX group_rpm_override_pkey ON public.group_rpm_override USING btree (group_id, user_id);
CREATE INDEX idempotency_key_by_expiry ON public.idempotency_key USING btree (expires_at);
CREATE UNIQUE INDEX idempotency_key_pkey ON public.idempotency_key USING btree (api_key_id, key_hash);
CREATE UNIQUE INDEX ledger_account_pkey ON public.ledger_account USING btree (id);
CREATE UNIQUE INDEX ledger_account_tenant_id_name_key ON public.ledger_account USING btree (tenant_id, name) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX ledger_opening_balance_pkey ON public.ledger_opening_balance USING btree (month, account_id);
CREATE INDEX ledger_transfer_by_transaction ON ONLY public.ledger_transfer USING btree (transaction_id);
CREATE INDEX ledger_transfer_default_credit_account_id_id_idx ON public.ledger_transfer_default USING btree (credit_account_id, id) WHERE ((credit_version IS NULL) AND (credit_account_id <> '00000000-0000-7000-8000-000000000001'::uuid));
CREATE UNIQUE INDEX ledger_transfer_default_credit_version ON public.ledger_transfer_default USING btree (credit_account_id, credit_version) WHERE (credit_version IS NOT NULL);
CREATE INDEX ledger_transfer_default_debit_account_id_id_idx ON public.ledger_transfer_default USING btree (debit_account_id, id) WHERE (debit_version IS NULL);
CREATE UNIQUE INDEX ledger_transfer_default_debit_version ON public.ledger_transfer_default USING btree (debit_account_id, debit_version) WHERE (debit_version IS NOT NULL);
CREATE UNIQUE INDEX ledger_transfer_default_pkey ON public.ledger_transfer_default USING btree (id, created_at);
CREATE INDEX ledger_transfer_default_transaction_id_idx ON public.ledger_transfer_default USING btree (transaction_id);
CREATE INDEX ledger_transfer_default_transaction_id_idx1 ON public.ledger_transfer_default USING btree (transaction_id) WHERE (kind = 'upstream_cost'::text);
CREATE INDEX ledger_transfer_house_credit ON ONLY public.ledger_transfer USING btree (credit_account_id, id) WHERE ((credit_version IS NULL) AND (credit_account_id <> '00000000-0000-7000-8000-000000000001'::uuid));
CREATE INDEX ledger_transfer_house_debit ON ONLY public.ledger_transfer USING btree (debit_account_id, id) WHERE (debit_version IS NULL);
CREATE UNIQUE INDEX ledger_transfer_pkey ON ONLY public.ledger_transfer USING btree (id, created_at);
CREATE INDEX ledger_transfer_upstream_costs ON ONLY public.ledger_transfer USING btree (transaction_id) WHERE (kind = 'upstream_cost'::text);
CREATE INDEX model_alias_by_model ON public.model_alias USING btree (model);
CREATE UNIQUE INDEX model_alias_pkey ON public.model_alias USING btree (alias);
CREATE UNIQUE INDEX model_fallback_model_fallback_model_key ON public.model_fallback USING btree (model, fallback_model);
CREATE UNIQUE INDEX model_fallback_pkey ON public.model_fallback USING btree (model, "position");
CREATE UNIQUE INDEX model_profile_pkey ON public.model_profile USING btree (model);
CREATE INDEX price_by_model ON public.price USING btree (model, effective_from DESC, id DESC);
CREATE UNIQUE INDEX price_pkey ON public.price USING btree (id);
CREATE UNIQUE INDEX provider_name_key ON public.provider USING btree (name);
CREATE UNIQUE INDEX provider_pkey ON public.provider USING btree (id);
CREATE UNIQUE INDEX quota_authority_pkey ON public.quota_authority USING btree (only_row);
CREATE UNIQUE INDEX quota_counter_pkey ON public.quota_counter USING btree (tenant_id, counter);
CREATE UNIQUE INDEX quota_follower_pkey ON public.quota_follower USING btree (process_id);
CREATE UNIQUE INDEX re_rating_line_pkey ON public.re_rating_line USING btree (re_rating_id, charge_id);
CREATE UNIQUE INDEX re_rating_line_transaction_id_key ON public.re_rating_line USING btree (transaction_id);
CREATE INDEX re_rating_line_unbooked ON public.re_rating_line USING btree (re_rating_id, tenant_id, charge_id) WHERE ((booked_nano_usd IS NULL) AND (due_nano_usd <> 0));
CREATE UNIQUE INDEX re_rating_pkey ON public.re_rating USING btree (id);
CREATE INDEX request_attempt_by_upstream ON ONLY public.request_attempt USING btree (upstream_id, request_id);
CREATE UNIQUE INDEX request_attempt_default_pkey ON public.request_attempt_default USING btree (request_id, attempt);
CREATE INDEX request_attempt_default_upstream_id_request_id_idx ON public.request_attempt_default USING btree (upstream_id, request_id);
CREATE UNIQUE INDEX request_attempt_pkey ON ONLY public.request_attempt USING btree (request_id, attempt);
CREATE UNIQUE INDEX request_billing_snapshot_pkey ON public.request_billing_snapshot USING btree (transaction_id);
CREATE INDEX request_log_by_api_key ON ONLY public.request_log USING btree (api_key_id, id) WHERE (api_key_id IS NOT NULL);
CREATE INDEX request_log_by_tenant ON ONLY public.request_log USING btree (tenant_id, id);
CREATE INDEX request_log_default_api_key_id_id_idx ON public.request_log_default USING btree (api_key_id, id) WHERE (api_key_id IS NOT NULL);
CREATE UNIQUE INDEX request_log_default_pkey ON public.request_log_default USING btree (id);
CREATE INDEX request_log_default_tenant_id_id_idx ON public.request_log_default USING btree (tenant_id, id);
CREATE UNIQUE INDEX request_log_pkey ON ONLY public.request_log USING btree (id);
CREATE INDEX subscription_by_group ON public.subscription USING btree (group_id, id);
CREATE INDEX subscription_by_tenant ON public.subscription USING btree (tenant_id, id);
CREATE INDEX subscription_by_user ON public.subscription USING btree (user_id, id) WHERE (user_id IS NOT NULL);
CREATE UNIQUE INDEX subscription_pkey ON public.subscription USING btree (id);
CREATE UNIQUE INDEX tenant_group_pkey ON public.tenant_group USING btree (id);
CREATE UNIQUE INDEX tenant_group_tenant_id_id_key ON public.tenant_group USING btree (tenant_id, id);
CREATE UNIQUE INDEX tenant_pkey ON public.tenant USING btree (id);
CREATE UNIQUE INDEX tenant_projection_pkey ON public.tenant_projection USING btree (tenant_id);
CREATE UNIQUE INDEX tenant_user_pkey ON public.tenant_user USING btree (id);
CREATE UNIQUE INDEX tenant_user_tenant_id_external_id_key ON public.tenant_user USING btree (tenant_id, external_id);
CREATE UNIQUE INDEX tenant_user_tenant_id_id_key ON public.tenant_user USING btree (tenant_id, id);
CREATE INDEX upstream_by_provider ON public.upstream USING btree (provider_id);
CREATE UNIQUE INDEX upstream_pkey ON public.upstream USING btree (id);
CREATE INDEX user_platform_quota_by_tenant ON public.user_platform_quota USING btree (tenant_id, id);
CREATE UNIQUE INDEX user_platform_quota_id_key ON public.user_platform_quota USING btree (id);
CREATE UNIQUE INDEX user_platform_quota_pkey ON public.user_platform_quota USING btree (user_id, platform);

-- triggers
CREATE TRIGGER api_key_changed AFTER INSERT OR DELETE OR UPDATE ON public.api_key FOR EACH ROW EXECUTE FUNCTION notify_change('id');
CREATE TRIGGER free_allowance_changed AFTER INSERT OR DELETE OR UPDATE ON public.free_allowance FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER gateway_process_ends BEFORE UPDATE OF status ON public.gateway_process FOR EACH ROW WHEN (((old.status = 'alive'::text) AND (new.status <> 'alive'::text))) EXECUTE FUNCTION await_rows_of_process();
CREATE TRIGGER group_rpm_override_changed AFTER INSERT OR DELETE OR UPDATE ON public.group_rpm_override FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER credit_limit_changed AFTER UPDATE OF credit_limit_nano_usd ON public.ledger_account FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER ledger_opening_balance_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_opening_balance FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_append_only();
CREATE TRIGGER ledger_transfer_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_transfer FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_append_only();
CREATE TRIGGER ledger_transfer_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_transfer_default FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_append_only();
CREATE TRIGGER model_alias_changed AFTER INSERT OR DELETE OR UPDATE ON public.model_alias FOR EACH ROW EXECUTE FUNCTION notify_change('alias');
CREATE TRIGGER model_fallback_changed AFTER INSERT OR DELETE OR UPDATE ON public.model_fallback FOR EACH ROW EXECUTE FUNCTION notify_change('model');
CREATE TRIGGER model_profile_changed AFTER INSERT OR DELETE OR UPDATE ON public.model_profile FOR EACH ROW EXECUTE FUNCTION notify_change('model');
CREATE TRIGGER price_changed AFTER INSERT OR DELETE OR UPDATE ON public.price FOR EACH ROW EXECUTE FUNCTION notify_change('model');
CREATE TRIGGER provider_changed AFTER INSERT OR DELETE OR UPDATE ON public.provider FOR EACH ROW EXECUTE FUNCTION notify_change('id');
CREATE TRIGGER quota_authority_changed AFTER UPDATE ON public.quota_authority FOR EACH ROW EXECUTE FUNCTION notify_change('epoch');
CREATE TRIGGER quota_authority_mode_has_epoch BEFORE UPDATE ON public.quota_authority FOR EACH ROW WHEN (((new.mode IS DISTINCT FROM old.mode) AND (new.epoch <= old.epoch))) EXECUTE FUNCTION refuse_mode_without_epoch();
CREATE TRIGGER request_billing_snapshot_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.request_billing_snapshot FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_append_only();
CREATE TRIGGER subscription_changed AFTER INSERT OR DELETE OR UPDATE ON public.subscription FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER tenant_changed AFTER INSERT OR DELETE OR UPDATE ON public.tenant FOR EACH ROW EXECUTE FUNCTION notify_change('id');
CREATE TRIGGER tenant_group_changed AFTER INSERT OR DELETE OR UPDATE ON public.tenant_group FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER tenant_user_changed AFTER INSERT OR DELETE OR UPDATE ON public.tenant_user FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');
CREATE TRIGGER upstream_changed AFTER INSERT OR DELETE OR UPDATE ON public.upstream FOR EACH ROW EXECUTE FUNCTION notify_change('id');
CREATE TRIGGER user_platform_quota_changed AFTER INSERT OR DELETE OR UPDATE ON public.user_platform_quota FOR EACH ROW EXECUTE FUNCTION notify_change('tenant_id');

-- functions
CREATE OR REPLACE FUNCTION public.are_price_tiers(p_tiers jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select case
    when jsonb_typeof(p_tiers) is distinct from 'array' then false
    when jsonb_array_length(p_tiers) > 16 then false
    else not exists (
      select from (
        select t, lag(case when jsonb_typeof(t -> 'above_input_tokens') = 'number'
                           then (t ->> 'above_input_tokens')::numeric end) over (order by at) as before
          from jsonb_array_elements(p_tiers) with ordinality as e (t, at)) s
       where case
         when jsonb_typeof(t) is distinct from 'object' then true
         when (select count(*) from jsonb_object_keys(t)) <> 8 then true
         when jsonb_typeof(t -> 'above_input_tokens') is distinct from 'number' then true
         when not (t ?& array['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image']) then true
         when exists (select from unnest(array['input_uncached', 'input_cached', 'cache_write', 'output', 'reasoning', 'audio', 'image']) bucket
                       where jsonb_typeof(t -> bucket) <> 'string' or t ->> bucket !~ '^[0-9]{1,15}$') then true
         else (t ->> 'above_input_tokens')::numeric not between 1 and 1000000000
           or (t ->> 'above_input_tokens')::numeric % 1 <> 0
           or (t ->> 'above_input_tokens')::numeric <= coalesce(before, 0)
       end)
  end
$function$
  comment 'Whether these are tiers of a price: at most 16, thresholds ascending, each with a price for every bucket as text.';
CREATE OR REPLACE FUNCTION public.await_rows_of_process()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_advisory_xact_lock(process_fence(old.id));
  return new;
end $function$;
CREATE OR REPLACE FUNCTION public.billing_admit(p_rows json)
 RETURNS TABLE(id uuid, status text)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_processes uuid[] := array(select distinct (unnest(v_rows)).process_id order by 1);
  v_epoch bigint;
  v_living uuid[];
begin
  -- Shared: while this transaction runs nobody can raise the epoch or declare one of the processes dead; the reads below
  -- see the last raise and the last mark.
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform pg_advisory_xact_lock_shared(process_fence(p)) from unnest(v_processes) p;
  select a.epoch, array(select p.id from gateway_process p where p.id = any (v_processes) and p.status = 'alive')
    into v_epoch, v_living from quota_authority a;

  insert into billing_transaction (
    id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd, credit_limit_nano_usd,
    balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start, api_key_id, api_key_name,
    model, price_version, prices, scopes, funding, input_tokens_estimate)
  select r.id, r.tenant_id, r.trace_id, 'charge', 'PENDING', r.channel, r.is_stream, r.epoch, r.process_id,
    r.hold_nano_usd, r.credit_limit_nano_usd, r.balance_before_nano_usd, r.balance_after_nano_usd,
    to_timestamp(r.day_window_start_ms / 1000.0), to_timestamp(r.month_window_start_ms / 1000.0),
    r.api_key_id, r.api_key_name, r.model, r.price_version, r.prices, r.scopes, coalesce(r.funding, 'wallet'),
    coalesce(r.input_tokens_estimate, 0)
  from unnest(v_rows) r
  where r.epoch = v_epoch and r.process_id = any (v_living)
  on conflict do nothing;
  perform process_lower_watermarks(v_rows);

  -- A resend after a lost reply finds its own rows; a hold the sweeper voided first finds VOIDED; a fenced one, none.
  return query
    select r.id, coalesce(b.status, 'DEAD') from unnest(v_rows) r
    left join billing_transaction b on b.id = r.id
    where b.id is not null or not r.process_id = any (v_living);
end $function$
  comment 'Writes PENDING rows of holds whose epoch is still current and whose process is alive; answers the rows that exist now, with their status, and DEAD for those of a process that is not alive. A row not answered was fenced.';
CREATE OR REPLACE FUNCTION public.billing_checkpoint(p_rows json)
 RETURNS TABLE(id uuid)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
begin
  return query
    with input as (
      select (r ->> 'id')::uuid as id, (r -> 'checkpoint')::jsonb as checkpoint from json_array_elements(p_rows) r),
    open as (
      select b.id from billing_transaction b
       where b.id in (select i.id from input i) and b.status = 'PENDING' for update skip locked)
    update billing_transaction b set checkpoint = i.checkpoint
      from input i
     where b.id = i.id and b.id in (select o.id from open o)
    returning b.id;
end $function$
  comment 'Keeps in open charges what their streams have delivered so far; answers those it was kept in. A charge that has ended, or whose row is not there yet, is left as it is.';
CREATE OR REPLACE FUNCTION public.billing_end(p_rows json)
 RETURNS TABLE(id uuid, outcome text, tenant_id uuid, posted_nano_usd bigint, version bigint)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_tenants uuid[] := array(select distinct (unnest(v_rows)).tenant_id);
  v_epoch bigint;
  v_unswept uuid[];
  v_won uuid[];
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  select a.epoch, array(select p.id from gateway_process p
      where p.id = any (array(select distinct (unnest(v_rows)).process_id)) and p.status in ('alive', 'dead'))
    into v_epoch, v_unswept from quota_authority a;

  -- The accounts first, by id, and also for voids: a rebuild that holds the wallet sees no charge end meanwhile.
  perform 1 from ledger_account a
    where a.tenant_id = any (v_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;

  with input as (select r.* from unnest(v_rows) r),
  updated as (
    update billing_transaction b set
      status = case when i.is_commit then 'COMMITTED' else 'VOIDED' end,
      amount_nano_usd = i.amount_nano_usd,
      tokens_input_uncached = i.tokens_input_uncached, tokens_input_cached = i.tokens_input_cached,
      tokens_cache_write = i.tokens_cache_write, tokens_output = i.tokens_output,
      tokens_reasoning = i.tokens_reasoning, tokens_audio = i.tokens_audio, tokens_image = i.tokens_image,
      upstream_cost_nano_usd = coalesce(i.upstream_cost_nano_usd, 0),
      counting_method = i.counting_method, end_reason = i.end_reason, upstream_id = i.upstream_id,
      upstream_name = i.upstream_name, provider_name = i.provider_name, reason_code = i.reason_code,
      description = i.description, ended_at = clock_timestamp()
    from input i
    where b.id = i.id and b.status = 'PENDING' and not i.is_new
    returning b.id),
  inserted as (
    insert into billing_transaction (
      id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd,
      credit_limit_nano_usd, balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start,
      api_key_id, api_key_name, model, price_version, prices, scopes, funding, amount_nano_usd, tokens_input_uncached,
      tokens_input_cached, tokens_cache_write, tokens_output, tokens_reasoning, tokens_audio, tokens_image,
      upstream_cost_nano_usd, counting_method, end_reason, upstream_id, upstream_name, provider_name, reason_code,
      description, original_transaction_id, ended_at)
    select i.id, i.tenant_id, i.trace_id, i.type, case when i.is_commit then 'COMMITTED' else 'VOIDED' end, i.channel,
      i.is_stream, i.epoch, i.process_id, i.hold_nano_usd, i.credit_limit_nano_usd, i.balance_before_nano_usd,
      i.balance_after_nano_usd, to_timestamp(i.day_window_start_ms / 1000.0),
      to_timestamp(i.month_window_start_ms / 1000.0), i.api_key_id, i.api_key_name, i.model, i.price_version, i.prices,
      i.scopes, coalesce(i.funding, 'wallet'), i.amount_nano_usd, i.tokens_input_uncached, i.tokens_input_cached,
      i.tokens_cache_write, i.tokens_output, i.tokens_reasoning, i.tokens_audio, i.tokens_image,
      coalesce(i.upstream_cost_nano_usd, 0), i.counting_method, i.end_reason, i.upstream_id, i.upstream_name,
      i.provider_name, i.reason_code, i.description, i.original_transaction_id, clock_timestamp()
    from input i
    -- The fence: a hold of an old epoch was not in the balance that today's holds were admitted against, and nobody
    -- looks any more for what a swept process leaves. While the sweeper is at a dead one, it or this commit wins. A void and
    -- a correction move no admitted money and may always be written.
    where i.is_new and (i.epoch = v_epoch and i.process_id = any (v_unswept) or not i.is_commit or i.type <> 'charge')
    on conflict do nothing
    returning id)
  select array_agg(w.id) into v_won from (select id from updated union all select id from inserted) w;

  perform billing_post_charges(v_won);
  if exists (select from billing_transaction b where b.id = any (v_won) and b.scopes is not null) then
    perform quota_count(v_won);
  end if;
  if exists (select from unnest(v_rows) r where r.house_costs is not null) then
    perform billing_post_house_costs(v_rows);
  end if;

  return query
    select i.id,
      case when i.id = any (v_won) then case when i.is_commit then 'committed' else 'voided' end
           when b.status = 'COMMITTED' then 'already_committed'
           when b.status = 'VOIDED' then 'already_voided'
           when i.is_new then 'fenced'
           else 'missing' end,
      i.tenant_id, w.posted_nano_usd, w.version
    from unnest(v_rows) i
    left join billing_transaction b on b.id = i.id
    left join lateral (
      select sum(a.posted_nano_usd)::bigint as posted_nano_usd, sum(a.version)::bigint as version
        from ledger_account a where a.tenant_id = i.tenant_id and a.name in ('wallet', 'promo')) w on true;
end $function$
  comment 'Ends charges in one transaction: PENDING → COMMITTED or VOIDED with one winner, transfers, versions, counters, snapshots, and what attempts cost the house. Twice is harmless: the second answer says already_…. The balance and version of wallet and promo together are the ones to project.';
CREATE OR REPLACE FUNCTION public.billing_extend(p_rows json)
 RETURNS TABLE(id uuid, hold_nano_usd bigint)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_epoch bigint;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  select a.epoch into v_epoch from quota_authority a;
  perform 1 from ledger_account a
    where a.tenant_id in (select distinct (r ->> 'tenant_id')::uuid from json_array_elements(p_rows) r)
      and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;
  return query
    update billing_transaction b set
      extended_nano_usd = b.extended_nano_usd + greatest(0, i.hold_nano_usd - b.hold_nano_usd),
      hold_nano_usd = greatest(b.hold_nano_usd, i.hold_nano_usd)
    from json_to_recordset(p_rows) as i (id uuid, hold_nano_usd bigint, epoch bigint)
    where b.id = i.id and b.status = 'PENDING' and i.epoch = v_epoch
    returning b.id, b.hold_nano_usd;
end $function$
  comment 'Makes raised holds durable; answers those of the epoch that is still current whose charge is open. Twice is harmless.';
CREATE OR REPLACE FUNCTION public.billing_post_charges(p_won uuid[])
 RETURNS void
 LANGUAGE sql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  -- Charges of one tenant take their turn in the order of their ids: each takes from promo, then from the wallet what the
  -- ones before have left there, the rest from overrun, and leaves a version of its own.
  with won as (
    select b.id, b.tenant_id, b.amount_nano_usd, b.credit_limit_nano_usd, b.funding
    from billing_transaction b where b.id = any (p_won) and b.status = 'COMMITTED'),
  paid as (
    select r.id, r.tenant_id, r.amount_nano_usd, r.credit_limit_nano_usd, p.id as promo_id, w.id as wallet_id,
      o.id as overrun_id, w.posted_nano_usd as posted,
      least(r.amount_nano_usd, greatest(0, coalesce(p.posted_nano_usd, 0)
        - (sum(r.amount_nano_usd) over (partition by r.tenant_id order by r.id rows unbounded preceding)
           - r.amount_nano_usd)))::bigint as promo_part
    from won r
    left join ledger_account p on p.tenant_id = r.tenant_id and p.name = 'promo'
    left join ledger_account w on w.tenant_id = r.tenant_id and w.name = 'wallet'
    left join ledger_account o on o.tenant_id = r.tenant_id and o.name = 'overrun'
    where r.funding = 'wallet'),
  walked as (
    select *, amount_nano_usd - promo_part as rest,
      wallet_after_charges(posted, amount_nano_usd - promo_part, credit_limit_nano_usd)
        over (partition by tenant_id order by id rows unbounded preceding) as posted_after
    from paid),
  charged as (
    -- Without accounts nothing is known of posted: the transfer then names no account, which refuses it.
    select id, promo_id, promo_part, wallet_id, overrun_id, rest,
      coalesce(lag(posted_after, 1, posted) over (partition by tenant_id order by id) - posted_after, rest) as wallet_part
    from walked),
  parts as (
    select id, promo_id as account_id, promo_part as amount from charged where promo_part > 0
    union all
    select id, wallet_id, wallet_part from charged where wallet_part > 0
    union all
    select id, overrun_id, rest - wallet_part from charged where rest > wallet_part),
  numbered as (
    select p.*, a.version + row_number() over (partition by p.account_id order by p.id) as version
    from parts p left join ledger_account a on a.id = p.account_id),
  posted as (
    update ledger_account a set posted_nano_usd = a.posted_nano_usd - s.amount, version = a.version + s.changes
    from (select account_id, sum(amount)::bigint as amount, count(*) as changes from parts group by account_id) s
    where a.id = s.account_id),
  transferred as (
    insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, debit_version)
    select 'charge', id, account_id, '00000000-0000-7000-8000-000000000001'::uuid, amount, version from numbered
    union all
    select 'charge', id,
      case funding when 'allowance' then '00000000-0000-7000-8000-000000000004'::uuid
                   else '00000000-0000-7000-8000-000000000005'::uuid end,
      '00000000-0000-7000-8000-000000000001'::uuid, amount_nano_usd, null
    from won where funding <> 'wallet' and amount_nano_usd > 0)
  insert into request_billing_snapshot (transaction_id, tenant_id, arithmetic)
  select b.id, b.tenant_id, jsonb_build_object(
    'formula', 'ceil((sum(tokens * price) + per_request * 10^6) * multiplier / 10^12)',
    'price_version', b.price_version, 'prices', b.prices, 'amount_nano_usd', b.amount_nano_usd::text,
    'tokens', jsonb_build_object(
      'input_uncached', b.tokens_input_uncached, 'input_cached', b.tokens_input_cached,
      'cache_write', b.tokens_cache_write, 'output', b.tokens_output, 'reasoning', b.tokens_reasoning,
      'audio', b.tokens_audio, 'image', b.tokens_image))
    || case when b.prices ? 'tiers' then jsonb_build_object('prices_in_force', prices_in_force(b.prices,
         b.tokens_input_uncached + b.tokens_input_cached + b.tokens_cache_write) - 'tiers')
       else '{}' end
  from billing_transaction b where b.id = any (p_won) and b.status = 'COMMITTED';
$function$;
CREATE OR REPLACE FUNCTION public.billing_post_house_costs(p_rows charge_row[])
 RETURNS void
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
declare
  v_transactions uuid[];
  v_upstreams uuid[];
  v_amounts bigint[];
  v_reasons text[];
begin
  -- What was served costs what its COMMITTED row says; where it was not charged after all, the house pays it.
  select array_agg(d.id order by d.id, d.upstream_id, d.reason), array_agg(d.upstream_id order by d.id, d.upstream_id, d.reason),
         array_agg(d.amount order by d.id, d.upstream_id, d.reason), array_agg(d.reason order by d.id, d.upstream_id, d.reason)
    into v_transactions, v_upstreams, v_amounts, v_reasons
    from (
      select r.id, c.upstream_id, case when c.is_served then 'UNCHARGED_ANSWER' else 'FAILED_ATTEMPT' end as reason,
             sum(c.amount_nano_usd)::bigint as amount
        from unnest(p_rows) r
        join billing_transaction b on b.id = r.id
       cross join lateral jsonb_to_recordset(r.house_costs)
             as c (upstream_id uuid, amount_nano_usd bigint, is_served boolean)
       where c.amount_nano_usd > 0 and not (c.is_served and b.status = 'COMMITTED')
         and not exists (select from ledger_transfer t where t.transaction_id = r.id and t.kind = 'upstream_cost')
       group by 1, 2, 3) d;
  if v_transactions is null then return; end if;

  insert into ledger_account (id, tenant_id, name)
  select u.account_id, null, 'upstream_cost:' || u.upstream_id
    from (select distinct upstream_cost_account(i) as account_id, i as upstream_id from unnest(v_upstreams) i) u
   where not exists (select from ledger_account a where a.id = u.account_id)
   order by u.account_id
  on conflict do nothing;
  insert into ledger_transfer (kind, transaction_id, debit_account_id, credit_account_id, amount_nano_usd, reason_code)
  select 'upstream_cost', d.transaction_id, '00000000-0000-7000-8000-000000000003',
         upstream_cost_account(d.upstream_id), d.amount, d.reason
    from unnest(v_transactions, v_upstreams, v_amounts, v_reasons) as d (transaction_id, upstream_id, amount, reason);
end $function$
  comment 'Books what attempts of ended charges cost the house, write_off to upstream_cost:<upstream id>, once a charge.';
CREATE OR REPLACE FUNCTION public.create_month_partition(p_table text, p_key text, p_month timestamp without time zone)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
  v_name constant text := p_table || to_char(p_month, '_YYYY_MM');
  v_default constant text := p_table || '_default';
  v_begin constant timestamptz := p_month at time zone 'UTC';
  v_end constant timestamptz := (p_month + interval '1 month') at time zone 'UTC';
  v_is_ledger constant boolean := p_table = 'ledger_transfer';
  v_from constant text := case when v_is_ledger then v_begin::text else uuid_floor(v_begin)::text end;
  v_to constant text := case when v_is_ledger then v_end::text else uuid_floor(v_end)::text end;
  v_strays boolean;
begin
  if to_regclass(format('public.%I', v_name)) is not null then return null; end if;
  if v_begin <= clock_timestamp() + interval '1 day' then
    execute format('lock table %I in share row exclusive mode', p_table);
  end if;
  execute format('lock table %I in access exclusive mode', v_default);
  execute format('create table %I (like %I including all)', v_name, p_table);
  if v_is_ledger then
    execute format('create unique index %I on %I (debit_account_id, debit_version) where debit_version is not null',
      v_name || '_debit_version', v_name);
    execute format('create unique index %I on %I (credit_account_id, credit_version) where credit_version is not null',
      v_name || '_credit_version', v_name);
  end if;
  execute format('select exists (select from %I where %I >= %L and %I < %L)', v_default, p_key, v_from, p_key, v_to)
    into v_strays;
  if v_strays then
    if v_is_ledger then execute format('alter table %I disable trigger %I', v_default, p_table || '_is_append_only'); end if;
    execute format('with moved as (delete from %I where %I >= %L and %I < %L returning *) insert into %I select * from moved',
      v_default, p_key, v_from, p_key, v_to, v_name);
    if v_is_ledger then execute format('alter table %I enable trigger %I', v_default, p_table || '_is_append_only'); end if;
  end if;
  if v_is_ledger then
    execute format('create trigger %I before update or delete or truncate on %I for each statement '
      'execute function refuse_change_of_append_only()', p_table || '_is_append_only', v_name);
  end if;
  execute format('alter table %I attach partition %I for values from (%L) to (%L)', p_table, v_name, v_from, v_to);
  if exists (select from pg_roles where rolname = 'tollgate_app') then
    execute format('revoke all on %I from tollgate_app', v_name);
  end if;
  return v_name;
end $function$
  comment 'Makes one month of one table with its indexes, trigger and rights, and takes over what DEFAULT has of it; null where it is there. Whoever may use the parent may use it through the parent, nobody but the owner directly.';
CREATE OR REPLACE FUNCTION public.create_month_partitions(p_from timestamp with time zone, p_months integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
declare
  v_month timestamp;
  v_table text[];
  v_name text;
begin
  if p_months is null or p_months not between 0 and 1200 then
    raise exception 'between 0 and 1200 months, not %', p_months using errcode = 'invalid_parameter_value';
  end if;
  -- One at a time; after that nobody's charge or list waits for us for long.
  perform pg_advisory_xact_lock(month_partitions_lock());
  perform set_config('lock_timeout', '200ms', true);
  for n in 0 .. p_months - 1 loop
    v_month := date_trunc('month', p_from at time zone 'UTC') + make_interval(months => n);
    continue when v_month at time zone 'UTC' < ledger_begins_at();
    foreach v_table slice 1 in array
      array[['ledger_transfer', 'created_at'], ['request_log', 'id'], ['request_attempt', 'request_id']] loop
      v_name := create_month_partition(v_table[1], v_table[2], v_month);
      if v_name is not null then return next v_name; end if;
    end loop;
  end loop;
end $function$
  comment 'Makes the partitions of so many months (UTC), the first the one of p_from, where they are not there, and answers those it made. A month whose opening balances stand is not made anew. The gateway''s own role may call it. Fails with lock_not_available, and changes nothing, where a lock is not free at once: try again.';
CREATE OR REPLACE FUNCTION public.ledger_begins_at()
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
RETURN COALESCE((SELECT ((max(ledger_opening_balance.month) + '1 mon'::interval) AT TIME ZONE 'UTC'::text) AS timezone FROM ledger_opening_balance), '-infinity'::timestamp with time zone)
  comment 'Whatever ended at or after this has its transfers in ledger_transfer; those of before were taken out with their months.';
CREATE OR REPLACE FUNCTION public.month_partitions_lock()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
RETURN '7203514650193409'::bigint
  comment 'Advisory lock of whoever adds or takes out a month.';
CREATE OR REPLACE FUNCTION public.notify_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  perform pg_notify('tollgate_changes', tg_table_name || ':' || (coalesce(to_jsonb(new), to_jsonb(old)) ->> tg_argv[0]));
  return null;
end $function$;
CREATE OR REPLACE FUNCTION public.prices_in_force(p_prices jsonb, p_input_tokens numeric)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select coalesce(
    (select t from jsonb_array_elements(p_prices -> 'tiers') t
      where (t ->> 'above_input_tokens')::numeric < p_input_tokens
      order by (t ->> 'above_input_tokens')::numeric desc limit 1),
    p_prices)
$function$
  comment 'The bucket prices of a call with that much input (uncached, cached and cache write together): those of the highest tier that it is above, for the whole call; without one, the price itself.';
CREATE OR REPLACE FUNCTION public.process_fence(p_process_id uuid)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
RETURN hashtextextended(('tollgate process '::text || (p_process_id)::text), (0)::bigint)
  comment 'Advisory lock between PENDING rows of a process and the end of its life: taken shared by whoever inserts them.';
CREATE OR REPLACE FUNCTION public.process_lower_watermarks(p_rows charge_row[])
 RETURNS void
 LANGUAGE sql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  update gateway_process p set oldest_open_id = r.trace_id
    from (select distinct on (process_id) process_id, trace_id from unnest(p_rows) order by process_id, trace_id) r
   where p.id = r.process_id and r.trace_id < p.oldest_open_id;
$function$
  comment 'Keeps gateway_process.oldest_open_id true for PENDING rows that are inserted in this transaction.';
CREATE OR REPLACE FUNCTION public.quota_abandon(p_row jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
declare
  v_ids uuid[] := array(select e::uuid from jsonb_array_elements_text(p_row -> 'ids') e);
  v_ended int;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform quota_lock_tenants(array[(p_row ->> 'tenant_id')::uuid], true);
  with voided as (
    update billing_transaction b set status = 'VOIDED', reason_code = 'HOLD_RELEASED', end_reason = 'failed',
           ended_at = clock_timestamp()
     where b.id = any (v_ids) and b.status = 'PENDING' and b.tenant_id = (p_row ->> 'tenant_id')::uuid
    returning 1)
  select count(*) into v_ended from voided;
  -- A reservation that is still on its way collides with this.
  insert into billing_transaction (id, tenant_id, trace_id, type, status, channel, epoch, process_id, reason_code,
    end_reason, ended_at)
  select i, (p_row ->> 'tenant_id')::uuid, i, 'charge', 'VOIDED', 'external', a.epoch, (p_row ->> 'process_id')::uuid,
    'HOLD_RELEASED', 'failed', clock_timestamp()
  from unnest(v_ids) i cross join quota_authority a
  where not exists (select from billing_transaction b where b.id = i)
  on conflict do nothing;
  return v_ended;
end $function$
  comment 'Ends holds that nobody uses (ids, tenant_id, process_id): open rows are voided, and where there is none a voided one is laid in the way. Twice is harmless.';
CREATE OR REPLACE FUNCTION public.quota_count(p_won uuid[])
 RETURNS void
 LANGUAGE sql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  insert into quota_counter as c (tenant_id, counter, window_start_ms, window_end_ms, used, counted)
  select distinct on (d.tenant_id, d.counter) d.tenant_id, d.counter, d.start_ms, d.end_ms, d.used, d.used
  from (
    select b.tenant_id, s ->> 0 as counter, (s ->> 2)::bigint as start_ms, max((s ->> 3)::bigint) as end_ms,
           sum(case s ->> 1 when 'r' then 1 else b.amount_nano_usd end)::bigint as used
    from billing_transaction b cross join lateral jsonb_array_elements(b.scopes) s
    where b.id = any (p_won) and b.status = 'COMMITTED' and b.type = 'charge'
    group by 1, 2, 3) d
  order by d.tenant_id, d.counter, d.start_ms desc
  on conflict (tenant_id, counter) do update set
    used = case when excluded.window_start_ms = c.window_start_ms then c.used + excluded.used else excluded.used end,
    counted =
      case when excluded.window_start_ms = c.window_start_ms then c.counted + excluded.counted else excluded.counted end,
    window_start_ms = excluded.window_start_ms,
    window_end_ms = greatest(excluded.window_end_ms,
      case when excluded.window_start_ms = c.window_start_ms then c.window_end_ms else 0 end)
  where excluded.window_start_ms >= c.window_start_ms;
$function$
  comment 'Adds committed charges to the counters of the windows frozen in them. A window that a newer one has followed counts no more. A correction is not counted: the charge it corrects was given back.';
CREATE OR REPLACE FUNCTION public.quota_counters_now(p_tenants uuid[], p_slot_of jsonb)
 RETURNS TABLE(slot integer, start_ms bigint, end_ms bigint, used bigint)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  with counted as (
    select k.value::int as slot, c.window_start_ms as start_ms, c.window_end_ms as end_ms, c.used
      from jsonb_each_text(p_slot_of) k
      join quota_counter c on c.tenant_id = left(k.key, 36)::uuid and c.counter = substr(k.key, 38)
    union all
    select (p_slot_of ->> (o.tenant_id || ' ' || (s ->> 0)))::int, (s ->> 2)::bigint, (s ->> 3)::bigint,
           case s ->> 1 when 'r' then 1 else o.hold_nano_usd end
      from quota_open_rows(p_tenants) o cross join lateral jsonb_array_elements(o.scopes) s
     where p_slot_of ? (o.tenant_id || ' ' || (s ->> 0)))
  select distinct on (c.slot) c.slot, c.start_ms, max(c.end_ms), sum(c.used)::bigint
    from counted c group by c.slot, c.start_ms order by c.slot, c.start_ms desc
$function$
  comment 'The newest window of each counter named in p_slot_of ("tenant counter": slot) with its use: what committed charges have, from quota_counter, and what open ones hold, from their rows.';
CREATE OR REPLACE FUNCTION public.quota_decide(p_request jsonb, p_now bigint, p_available bigint, p_open bigint, p_slot_of jsonb, p_state quota_use[])
 RETURNS quota_decision
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
  v quota_decision;
  v_check jsonb;
  v_hold bigint := (p_request ->> 'hold_nano_usd')::bigint;
  v_need bigint;
  v_limit bigint;
  v_before bigint;
  v_s quota_use;
  v_window bigint[];
  v_place int := 0;
begin
  v.status := 'ADMITTED';
  v.funding := p_request ->> 'funding';
  v.counted := '[]';
  v.uses := '{}';
  for v_check in select c from jsonb_array_elements(p_request -> 'checks') c loop
    v_place := v_place + 1;
    v_need := case v_check ->> 2 when 'r' then 1 when 't' then (p_request ->> 'tokens')::bigint else v_hold end;
    v_limit := (v_check ->> 3)::bigint;
    -- Of a rolling scope the state has what this statement has counted: what was counted before it is the process' own.
    v_before := case v_check ->> 0 when 'r' then (v_check ->> 4)::bigint else 0 end;
    if v_check ->> 0 = 'o' then
      if p_open + 1 > v_limit and v.place is null then
        v.place := v_place; v.check_limit := v_limit; v.used := p_open;
      end if;
      continue;
    end if;
    v_s := p_state[(p_slot_of ->> ((p_request ->> 'tenant_id') || ' ' || (v_check ->> 1)))::int];
    v_window := quota_window(v_check, p_now, v_s.start_ms, v_s.end_ms, v_s.used);
    if v_window is null then
      v.status := 'CLOCK';
      return v;
    end if;
    v_s := (v_s.slot, v_window[1], v_window[2], case when v_window[1] = v_s.start_ms then v_s.used else 0 end);
    if v_before + v_s.used + v_need > v_limit then
      if v_check ->> 0 <> 'a' and v.place is null then
        v.place := v_place; v.check_limit := v_limit; v.used := v_before + v_s.used;
        -- No window that ends makes room for what no window has room for.
        v.resets_ms := case when v_need <= v_limit then nullif(v_s.end_ms, 0) end;
      end if;
      continue;
    end if;
    if v_check ->> 0 = 'a' then v.funding := 'allowance'; end if;
    v_s.used := v_s.used + v_need;
    v.uses := v.uses || v_s;
    continue when v_check ->> 0 = 'r';
    v.counted := v.counted
      || jsonb_build_array(jsonb_build_array(v_check ->> 1, v_check ->> 2, v_s.start_ms, v_s.end_ms, v_s.used));
  end loop;
  -- A hold of nothing needs no cover, also where the tenant is in debt.
  if v.funding = 'wallet' and v_hold > 0 and v_hold > p_available then
    v.place := 0; v.check_limit := v_hold; v.used := p_available; v.resets_ms := null;
  end if;
  if v.place is not null then v.status := 'REFUSED'; end if;
  return v;
end $function$;
CREATE OR REPLACE FUNCTION public.quota_extend(p_row jsonb)
 RETURNS TABLE(status text, place integer, check_limit bigint, used bigint, resets_ms bigint)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_row billing_transaction;
  v_tenants uuid[] := array[(p_row ->> 'tenant_id')::uuid];
  v_delta bigint;
  v_available bigint;
  v_found record;
begin
  perform pg_advisory_xact_lock_shared(quota_fence());
  if not exists (select from quota_authority a where a.mode = 'postgres' and a.epoch = (p_row ->> 'epoch')::bigint) then
    return query select 'FENCED', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  perform quota_lock_tenants(v_tenants, true);
  select * into v_row from billing_transaction b
    where b.id = (p_row ->> 'id')::uuid and b.tenant_id = v_tenants[1] and b.status = 'PENDING' for update;
  if not found then
    return query select 'GONE', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  v_delta := (p_row ->> 'hold_nano_usd')::bigint - v_row.hold_nano_usd;
  if v_delta <= 0 then
    return query select 'EXTENDED', null::int, null::bigint, null::bigint, null::bigint;
    return;
  end if;
  select b.posted_nano_usd + (p_row ->> 'credit_limit_nano_usd')::bigint - coalesce((
      select sum(o.hold_nano_usd) from quota_open_rows(v_tenants) o where o.funding = 'wallet'), 0)
    into v_available from tenant_balance b where b.tenant_id = v_tenants[1];
  if v_row.funding = 'wallet' and v_delta > v_available then
    return query select 'REFUSED', 0, v_delta, v_available, null::bigint;
    return;
  end if;
  -- Of the windows frozen in the hold those that are still the newest; one that has passed limits nothing any more.
  select l.n, l.limit_nano_usd, c.used, nullif(c.end_ms, 0) as end_ms into v_found
    from (select (e ->> 0) as counter, (e ->> 1)::bigint as limit_nano_usd, n::int
            from jsonb_array_elements(p_row -> 'limits') with ordinality as x (e, n)) l
    join jsonb_array_elements(coalesce(v_row.scopes, '[]')) s on s ->> 0 = l.counter and s ->> 1 = 'u'
    cross join lateral quota_counters_now(v_tenants, jsonb_build_object(v_tenants[1] || ' ' || l.counter, l.n)) c
   where c.start_ms = (s ->> 2)::bigint and c.used + v_delta > l.limit_nano_usd
   order by l.n limit 1;
  if found then
    return query select 'REFUSED', v_found.n, v_found.limit_nano_usd, v_found.used, v_found.end_ms;
    return;
  end if;
  update billing_transaction b set
    hold_nano_usd = b.hold_nano_usd + v_delta, extended_nano_usd = b.extended_nano_usd + v_delta where b.id = v_row.id;
  return query select 'EXTENDED', null::int, null::bigint, null::bigint, null::bigint;
end $function$
  comment 'Raises an open hold, durably, to a larger amount, or refuses and changes nothing: id, tenant_id, epoch, hold_nano_usd, credit_limit_nano_usd, limits ([counter, nano-USD], in the order of the places that refuse). Twice is harmless.';
CREATE OR REPLACE FUNCTION public.quota_fence()
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$ select 7203514650193408::bigint $function$
  comment 'Advisory lock between PENDING rows and the epoch: taken shared by whoever inserts, exclusively by whoever raises.';
CREATE OR REPLACE FUNCTION public.quota_frozen(p_counted jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
RETURN (SELECT jsonb_agg((e.c - 4) ORDER BY e.n) AS jsonb_agg FROM jsonb_array_elements(quota_frozen.p_counted) WITH ORDINALITY e(c, n));
CREATE OR REPLACE FUNCTION public.quota_lock_tenants(p_tenants uuid[], p_waits boolean)
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
declare
  v_locked uuid[];
begin
  insert into ledger_account (id, tenant_id, name, posted_nano_usd)
  select gen_random_uuid(), t, n, 0 from unnest(p_tenants) t cross join (values ('wallet'), ('overrun')) as v (n)
  where not exists (select from ledger_account a where a.tenant_id = t and a.name = n)
  order by t, n
  on conflict do nothing;
  if p_waits then
    perform 1 from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update;
    return p_tenants;
  end if;
  v_locked := array(
    select a.id from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun') order by a.id for update skip locked);
  return array(
    select a.tenant_id from ledger_account a
      where a.tenant_id = any (p_tenants) and a.name in ('wallet', 'promo', 'overrun')
      group by a.tenant_id having bool_and(a.id = any (v_locked)) order by a.tenant_id);
end $function$
  comment 'Locks the accounts by id, made on first use, and answers whose it has. p_waits: it waits for all; else it takes what is free, waits for none, and so stands in no circle. Whoever makes some holds no account''s lock yet.';
CREATE OR REPLACE FUNCTION public.quota_open_rows(p_tenants uuid[])
 RETURNS TABLE(tenant_id uuid, hold_nano_usd bigint, funding text, scopes jsonb)
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  select b.tenant_id, b.hold_nano_usd, b.funding, b.scopes from billing_transaction b
   where b.tenant_id = any (p_tenants) and b.status = 'PENDING' and b.trace_id >= coalesce(
     (select p.oldest_open_id from gateway_process p where p.status in ('alive', 'dead') order by p.oldest_open_id limit 1),
     '00000000-0000-0000-0000-000000000000'::uuid)
$function$;
CREATE OR REPLACE FUNCTION public.quota_period(p_counted jsonb, p_counter text, p_bounds jsonb, p_now bigint)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
RETURN COALESCE((SELECT ((c.value ->> 2))::bigint AS int8 FROM jsonb_array_elements(quota_period.p_counted) c(value) WHERE ((c.value ->> 0) = quota_period.p_counter)), ((p_bounds ->> CASE WHEN (p_now >= ((p_bounds ->> 1))::bigint) THEN 1 ELSE 0 END))::bigint)
  comment 'Start of a hold''s day or month: as its request quota counted it, else by the calendar.';
CREATE OR REPLACE FUNCTION public.quota_reserve(p_rows json, p_waits boolean)
 RETURNS TABLE(id uuid, status text, now_ms bigint, hold_nano_usd bigint, balance_before_nano_usd bigint, funding text, counted jsonb, place integer, check_limit bigint, used bigint, resets_ms bigint)
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
declare
  v_rows charge_row[] := array(select r from json_populate_recordset(null::charge_row, p_rows) r);
  v_requests jsonb := p_rows::jsonb;
  v_processes uuid[] := array(select distinct (unnest(v_rows)).process_id order by 1);
  v_tenants uuid[];
  v_epoch bigint;
  v_living uuid[];
  v_unopened uuid[];
  v_standing uuid[];
  v_slot_of jsonb;
  v_state quota_use[] := '{}';
  v_spendable bigint[];
  v_open bigint[];
  v_found record;
  v_request jsonb;
  r charge_row;
  d quota_decision;
  u quota_use;
  v_admitted charge_row[] := '{}';
  t int;
begin
  -- Shared: while this transaction runs nobody can raise the epoch or declare one of the processes dead; the reads below
  -- see the last raise and the last mark.
  perform pg_advisory_xact_lock_shared(quota_fence());
  perform pg_advisory_xact_lock_shared(process_fence(p)) from unnest(v_processes) p;
  select a.epoch, array(select p.id from gateway_process p where p.id = any (v_processes) and p.status = 'alive')
    into v_epoch, v_living from quota_authority a where a.mode = 'postgres';
  v_tenants := quota_lock_tenants(array(select distinct (unnest(v_rows)).tenant_id), p_waits);
  v_spendable := array_fill(0::bigint, array[cardinality(v_tenants)]);
  v_open := v_spendable;
  v_unopened := quota_unopened(v_requests);
  v_standing := array(select b.id from billing_transaction b where b.id in (select (unnest(v_rows)).id));

  for v_found in
    select array_position(v_tenants, o.tenant_id) as t, coalesce(sum(o.hold_nano_usd) filter (where o.funding = 'wallet'), 0)
           as held, count(*) as n from quota_open_rows(v_tenants) o group by o.tenant_id
  loop
    v_spendable[v_found.t] := -v_found.held;
    v_open[v_found.t] := v_found.n;
  end loop;
  for v_found in
    select array_position(v_tenants, b.tenant_id) as t, b.posted_nano_usd as posted
      from tenant_balance b where b.tenant_id = any (v_tenants)
  loop
    v_spendable[v_found.t] := v_spendable[v_found.t] + v_found.posted;
  end loop;
  select coalesce(jsonb_object_agg(k.name, k.slot), '{}') into v_slot_of from (
    select n.name, row_number() over (order by n.name) as slot from (
      select distinct (q ->> 'tenant_id') || ' ' || (c ->> 1) as name
        from jsonb_array_elements(v_requests) q cross join lateral jsonb_array_elements(q -> 'checks') c
       where c ->> 0 <> 'o') n) k;
  for v_found in select s::int as slot from generate_series(1, (select count(*) from jsonb_object_keys(v_slot_of))) s loop
    v_state[v_found.slot] := (v_found.slot, 0, 0, 0);
  end loop;
  for v_found in select c.slot, c.start_ms, c.end_ms, c.used from quota_counters_now(v_tenants, v_slot_of) c loop
    v_state[v_found.slot] := (v_found.slot, v_found.start_ms, v_found.end_ms, v_found.used);
  end loop;

  for i in 1 .. cardinality(v_rows) loop
    r := v_rows[i];
    v_request := v_requests -> (i - 1);
    t := array_position(v_tenants, r.tenant_id);
    id := r.id; now_ms := floor(extract(epoch from clock_timestamp()) * 1000)::bigint + (v_request ->> 'offset_ms')::bigint;
    hold_nano_usd := r.hold_nano_usd; balance_before_nano_usd := null; funding := null; counted := null; place := null;
    check_limit := null; used := null; resets_ms := null;
    if t is null then
      status := 'LOCKED';
      return next;
      continue;
    end if;
    if r.id = any (v_standing) then
      -- A resend, also of another epoch: a row that is open holds, whoever counts it now.
      select case b.status when 'PENDING' then 'ADMITTED' else 'ENDED' end, b.hold_nano_usd - b.extended_nano_usd,
             b.balance_before_nano_usd, b.funding, coalesce(b.scopes, '[]'),
             floor(extract(epoch from b.created_at) * 1000)::bigint + (v_request ->> 'offset_ms')::bigint
        into status, hold_nano_usd, balance_before_nano_usd, funding, counted, now_ms
        from billing_transaction b where b.id = r.id;
      return next;
      continue;
    end if;
    status := case when v_epoch is null or r.epoch <> v_epoch then 'FENCED'
                   when not r.process_id = any (v_living) then 'DEAD'
                   when now_ms < (v_request -> 'days' ->> 0)::bigint or now_ms >= (v_request -> 'days' ->> 2)::bigint
                     then 'CLOCK'
                   when r.id = any (v_unopened) then 'UNOPENED' end;
    if status is not null then
      return next;
      continue;
    end if;
    d := quota_decide(v_request, now_ms, v_spendable[t] + r.credit_limit_nano_usd, v_open[t], v_slot_of, v_state);
    status := d.status; funding := d.funding; counted := d.counted; place := d.place; check_limit := d.check_limit;
    used := d.used; resets_ms := d.resets_ms;
    balance_before_nano_usd := v_spendable[t] + r.credit_limit_nano_usd;
    return next;
    continue when d.status <> 'ADMITTED' or (v_request ->> 'is_dry')::boolean;

    foreach u in array d.uses loop
      v_state[u.slot] := u;
    end loop;
    v_open[t] := v_open[t] + 1;
    r.funding := d.funding;
    r.balance_before_nano_usd := balance_before_nano_usd;
    r.balance_after_nano_usd := balance_before_nano_usd - case d.funding when 'wallet' then r.hold_nano_usd else 0 end;
    if d.funding = 'wallet' then v_spendable[t] := v_spendable[t] - r.hold_nano_usd; end if;
    r.scopes := quota_frozen(d.counted);
    r.day_window_start_ms := quota_period(d.counted, 'day', v_request -> 'days', now_ms);
    r.month_window_start_ms := quota_period(d.counted, 'month', v_request -> 'months', now_ms);
    v_admitted := v_admitted || r;
  end loop;

  perform process_lower_watermarks(v_admitted);
  insert into billing_transaction (
    id, tenant_id, trace_id, type, status, channel, is_stream, epoch, process_id, hold_nano_usd, credit_limit_nano_usd,
    balance_before_nano_usd, balance_after_nano_usd, day_window_start, month_window_start, api_key_id, api_key_name,
    model, price_version, prices, scopes, funding, input_tokens_estimate)
  select a.id, a.tenant_id, a.trace_id, 'charge', 'PENDING', a.channel, a.is_stream, a.epoch, a.process_id,
    a.hold_nano_usd, a.credit_limit_nano_usd, a.balance_before_nano_usd, a.balance_after_nano_usd,
    to_timestamp(a.day_window_start_ms / 1000.0), to_timestamp(a.month_window_start_ms / 1000.0),
    a.api_key_id, a.api_key_name, a.model, a.price_version, a.prices, a.scopes, a.funding,
    coalesce(a.input_tokens_estimate, 0)
  from unnest(v_admitted) a;
end $function$
  comment 'Reserves holds one after another from the ledger and writes the PENDING rows of those that are admitted. A row is a charge_row with checks ([kind, counter, measure, limit, a, b, c], see quota_deduct.lua; of a rolling one a is what the process has counted so far, and the row freezes nothing of it), tokens, days and months (start, next start, next end), offset_ms, is_dry. Answers ADMITTED, REFUSED place limit used resets (place 0: the balance), CLOCK now, UNOPENED (see quota_unopened), FENCED (another epoch, or Postgres does not decide), DEAD (its process), ENDED (its charge) or, unless p_waits, LOCKED (somebody has the tenant''s accounts; nothing is known of the row).';
CREATE OR REPLACE FUNCTION public.quota_unopened(p_requests jsonb)
 RETURNS uuid[]
 LANGUAGE sql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
RETURN ARRAY(SELECT ((r.value ->> 'id'::text))::uuid AS uuid FROM jsonb_array_elements(quota_unopened.p_requests) r(value) WHERE (EXISTS (SELECT FROM jsonb_array_elements((r.value -> 'checks'::text)) c(value) WHERE (((c.value ->> 0) = 'c'::text) AND ((c.value ->> 1) = ANY (ARRAY['day'::text, 'month'::text])) AND (NOT (EXISTS (SELECT FROM quota_counter q WHERE ((q.tenant_id = ((r.value ->> 'tenant_id'::text))::uuid) AND (q.counter = (c.value ->> 1))))))))))
  comment 'Holds that would count in a request quota of their tenant that has not counted yet. None does before its row stands, so what the row was opened with counts none of them twice.';
CREATE OR REPLACE FUNCTION public.quota_window(p_check jsonb, p_now bigint, p_start bigint, p_end bigint, p_used bigint)
 RETURNS bigint[]
 LANGUAGE plpgsql
 IMMUTABLE
AS $function$
declare
  v_a bigint := nullif(p_check ->> 4, '')::bigint;
  v_b bigint := nullif(p_check ->> 5, '')::bigint;
  v_c bigint := nullif(p_check ->> 6, '')::bigint;
begin
  case p_check ->> 0
    when 'l', 'r' then return array[0, 0];
    when 'f' then
      -- A window in which everything was given back has not begun. None begins before the newest one.
      return case when p_now < p_end and (p_used > 0 or p_now < p_start) then array[p_start, p_end]
                  else array[p_now, p_now + v_a] end;
    else
      if p_now < v_a or p_now >= v_c then return null; end if;
      if p_now >= v_b then v_a := v_b; v_b := v_c; end if;
      -- A calendar window never goes back: where the clock was set back, or the zone changed, the newest one goes on.
      return case when p_start > v_a then array[p_start, p_end] else array[v_a, v_b] end;
  end case;
end $function$
  comment 'Start and end of the window a use would count in now, given the newest one; null where the clock is in neither of the windows that the caller sent.';
CREATE OR REPLACE FUNCTION public.refuse_change_of_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception '% is append-only: correct it with a new, linked row', tg_table_name using errcode = 'restrict_violation';
end $function$;
CREATE OR REPLACE FUNCTION public.refuse_mode_without_epoch()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'the mode changes only together with the epoch' using errcode = 'restrict_violation';
end $function$;
CREATE OR REPLACE FUNCTION public.upstream_cost_account(p_upstream_id uuid)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE
RETURN (OVERLAY(OVERLAY(md5(('upstream_cost:'::text || (p_upstream_id)::text)) PLACING '3'::text FROM 13 FOR 1) PLACING '8'::text FROM 17 FOR 1))::uuid
  comment 'Id of the house''s account upstream_cost:<upstream id>: what that upstream charges us for attempts the house pays.';
CREATE OR REPLACE FUNCTION public.uuid_floor(p_at timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE STRICT
RETURN ((lpad(to_hex((floor((EXTRACT(epoch FROM p_at) * (1000)::numeric)))::bigint), 12, '0'::text) || repeat('0'::text, 20)))::uuid
  comment 'Every UUIDv7 made at or after this moment is greater.';
CREATE OR REPLACE FUNCTION public.wallet_after_charge(p_after bigint, p_posted bigint, p_amount bigint, p_credit_limit bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
declare
  v_posted bigint := coalesce(p_after, p_posted);
begin
  return least(v_posted, greatest(v_posted - p_amount, -p_credit_limit));
end $function$
  comment 'A charge takes the wallet down to -(its credit limit) and no lower; one that finds it there or below takes nothing.';

-- aggregates
wallet_after_charges(bigint, bigint, bigint) sfunc wallet_after_charge stype bigint
  comment 'posted (of the first row), amount, credit limit: what the wallet has posted after these charges, one after the other.';

-- views
tenant_balance as
 SELECT tenant_id,
    (sum(posted_nano_usd))::bigint AS posted_nano_usd,
    (sum(version))::bigint AS version
   FROM ledger_account
  WHERE ((name = ANY (ARRAY['wallet'::text, 'promo'::text])) AND (tenant_id IS NOT NULL))
  GROUP BY tenant_id;

-- types
charge_row (id uuid, tenant_id uuid, trace_id uuid, channel text, is_stream boolean, epoch bigint, process_id uuid, hold_nano_usd bigint, credit_limit_nano_usd bigint, balance_before_nano_usd bigint, balance_after_nano_usd bigint, day_window_start_ms bigint, month_window_start_ms bigint, api_key_id uuid, api_key_name text, model text, price_version bigint, prices jsonb, is_new boolean, is_commit boolean, type text, amount_nano_usd bigint, tokens_input_uncached bigint, tokens_input_cached bigint, tokens_cache_write bigint, tokens_output bigint, tokens_reasoning bigint, tokens_audio bigint, tokens_image bigint, counting_method text, end_reason text, upstream_id uuid, upstream_name text, provider_name text, reason_code text, description text, scopes jsonb, funding text, input_tokens_estimate bigint, original_transaction_id uuid, upstream_cost_nano_usd bigint, house_costs jsonb);
quota_decision (status text, funding text, counted jsonb, uses quota_use[], place integer, check_limit bigint, used bigint, resets_ms bigint);
quota_use (slot integer, start_ms bigint, end_ms bigint, used bigint);

-- grants to tollgate_app
api_key: delete, insert, select, update
audit_log: delete, insert, select, update
billing_transaction: insert, select, update
free_allowance: delete, insert, select, update
gateway_process: delete, insert, select, update
group_rpm_override: delete, insert, select, update
idempotency_key: delete, insert, select, update
ledger_account: insert, select, update
ledger_opening_balance: select
ledger_transfer: insert, select
ledger_transfer_default: select
model_alias: delete, insert, select, update
model_fallback: delete, insert, select, update
model_profile: delete, insert, select, update
price: insert, select
provider: delete, insert, select, update
quota_authority: delete, insert, select, update
quota_counter: delete, insert, select, update
quota_follower: delete, insert, select, update
re_rating: delete, insert, select, update
re_rating_line: delete, insert, select, update
request_attempt: delete, insert, select, update
request_attempt_default: select
request_billing_snapshot: insert, select
request_log: delete, insert, select, update
request_log_default: select
subscription: insert, select, update
tenant: insert, select, update
tenant_balance: delete, insert, select, update
tenant_group: delete, insert, select, update
tenant_projection: delete, insert, select, update
tenant_user: delete, insert, select, update
upstream: delete, insert, select, update
user_platform_quota: delete, insert, select, update
