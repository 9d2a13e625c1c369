-- A role that sees figures and no phone number, for screens and guests. And who did what: a row for each act of a person.
ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check
    CHECK (role IN ('administrator', 'noc', 'billing', 'analyst', 'viewer', 'company'));

CREATE TABLE user_acts (
    act_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    person   text NOT NULL CHECK (length(person) BETWEEN 1 AND 64),    -- a login; of a command, who it says decides
    via      text NOT NULL CHECK (via IN ('page', 'api', 'command')),
    origin   text NOT NULL CHECK (length(origin) BETWEEN 1 AND 64),    -- the address; of a command, the system's account
    area     text NOT NULL CHECK (length(area) BETWEEN 1 AND 32),      -- as in dashboards/access.py
    act      text NOT NULL CHECK (length(act) BETWEEN 1 AND 32),
    subject  text NOT NULL CHECK (length(subject) BETWEEN 1 AND 256),  -- a login, an action, a letter
    detail   text NOT NULL DEFAULT '' CHECK (length(detail) <= 500)
);
CREATE INDEX user_acts_at ON user_acts (at DESC);
