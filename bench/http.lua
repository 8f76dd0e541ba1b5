-- For wrk: items by random id, and each body compared with what it must be.
-- usage: wrk -t 1 -s http.lua http://HOST:PORT  (one thread: it counts for all)

local item = '{"id": %s, "name": "item %s", "price": 1250}'
wrong = 0

function request()
	return wrk.format("GET", "/items/" .. math.random(1, 10000))
end

function response(status, _, body)
	local id = body:match('^{"id": (%d+)')
	if status ~= 200 or id == nil or body ~= item:format(id, id) then
		wrong = wrong + 1
	end
end

local threads = {}

function setup(thread)
	table.insert(threads, thread)
end

function done(summary)
	for _, thread in ipairs(threads) do
		summary.wrong = (summary.wrong or 0) + thread:get("wrong")
	end
	print(("wrong: %d of %d"):format(summary.wrong, summary.requests))
end
