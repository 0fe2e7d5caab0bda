package board

import (
	"encoding/json"
	"slices"

	"example.org/letterbox/metrics"
)

// schemaVersion is that of Grafana's classic dashboard model.
const schemaVersion = 42

// Widths of a panel of each kind, in the grid's 24 columns, and heights.
const (
	statWidth, statHeight   = 4, 4
	graphWidth, graphHeight = 8, 7
	gridWidth               = 24
)

type object = map[string]any

// Dashboard returns the dashboard for Grafana, as JSON.
func Dashboard() []byte {
	text, err := json.MarshalIndent(object{
		"title": "letterbox", "uid": "letterbox", "schemaVersion": schemaVersion, "tags": []string{"letterbox", "mail"},
		"description": "Mail in by SMTP, kept, out by POP3. Made by `letterbox monitor dashboard`.",
		"editable":    true, "graphTooltip": 1, "refresh": "1m", "timezone": "browser", "version": 1, "fiscalYearStartMonth": 0, "id": nil,
		"time":        object{"from": "now-24h", "to": "now"},
		"timepicker":  object{},
		"annotations": object{"list": []any{}},
		"links":       []any{},
		"templating":  object{"list": variables()},
		"panels":      grid(),
	}, "", "  ")
	if err != nil {
		panic(err) // nothing in it that JSON can't say
	}
	return append(text, '\n')
}

func variables() []any {
	source := source()
	query := func(name, label, expr string) object {
		return object{
			"name": name, "label": label, "type": "query", "datasource": source,
			"query":   object{"qryType": 1, "query": expr, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
			"refresh": 2, "sort": 1, "hide": 0, "multi": true, "includeAll": true, "allValue": ".+", "regex": "", "skipUrlSync": false,
			"options": []any{}, "current": object{"text": []string{"All"}, "value": []string{"$__all"}, "selected": true},
		}
	}
	return []any{
		object{
			"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0,
			"regex": "", "multi": false, "includeAll": false, "skipUrlSync": false, "options": []any{}, "current": object{"text": "", "value": ""},
		},
		query("job", "Job", "label_values(letterbox_build_info, job)"),
		query("instance", "Instance", `label_values(letterbox_build_info{job=~"$job"}, instance)`),
	}
}

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// grid places the panels row by row, from left to right.
func grid() []any {
	var all []any
	id, x, y, height := 0, 0, 0, 0
	next := func() int { id++; return id }
	row := metrics.Row("")
	for _, p := range Panels() {
		if p.Row != row {
			row, y, x = p.Row, y+height, 0
			all = append(all, object{
				"id": next(), "type": "row", "title": string(row), "collapsed": false, "panels": []any{},
				"gridPos": object{"x": 0, "y": y, "w": gridWidth, "h": 1},
			})
			y, height = y+1, 0
		}
		w, h := graphWidth, graphHeight
		if p.Stat {
			w, h = statWidth, statHeight
		}
		if x+w > gridWidth || height > 0 && height != h {
			x, y, height = 0, y+height, 0
		}
		all = append(all, p.json(next(), object{"x": x, "y": y, "w": w, "h": h}))
		x, height = x+w, h
	}
	return all
}

func (p Panel) json(id int, pos object) object {
	var targets []any
	for i, q := range p.Queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "expr": q.Expr, "legendFormat": q.Legend, "datasource": source(), "editorMode": "code",
			"instant": p.Stat, "range": !p.Stat,
		})
	}
	kind, options := "timeseries", object{
		"legend":  object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	custom := object{"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": true,
		"thresholdsStyle": object{"mode": "off"}}
	if p.Warn != 0 || p.Bad != 0 {
		custom["thresholdsStyle"] = object{"mode": "dashed"}
	}
	if p.Stat {
		kind, custom, options = "stat", object{}, object{
			"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "value",
			"percentChangeColorMode": "standard", "showPercentChange": false, "wideLayout": true,
			"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
		}
	}
	return object{
		"id": id, "type": kind, "title": p.Title, "description": p.Text, "datasource": source(), "gridPos": pos,
		"targets": targets, "options": options,
		"fieldConfig": object{
			"defaults": object{
				"unit": p.Unit, "custom": custom, "min": 0, "color": object{"mode": p.colour()},
				"thresholds": object{"mode": "absolute", "steps": p.steps()},
			},
			"overrides": []any{},
		},
	}
}

func (p Panel) colour() string {
	if p.Stat {
		return "thresholds"
	}
	return "palette-classic"
}

// steps are the colours of the thresholds. The first has no value: it goes down to minus infinity.
func (p Panel) steps() []any {
	type level struct {
		colour string
		at     float64
	}
	levels := []level{{"green", 0}}
	if p.Warn != 0 {
		levels = append(levels, level{"yellow", p.Warn})
	}
	if p.Bad != 0 {
		levels = append(levels, level{"red", p.Bad})
	}
	if p.Below { // red up to Bad, yellow up to Warn, green from there
		slices.Reverse(levels)
		for i := len(levels) - 1; i > 0; i-- {
			levels[i].at = levels[i-1].at
		}
	}
	steps := []any{object{"color": levels[0].colour, "value": nil}}
	for _, l := range levels[1:] {
		steps = append(steps, object{"color": l.colour, "value": l.at})
	}
	return steps
}
