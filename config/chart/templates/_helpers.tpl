{{/* Labels of every object. */}}
{{- define "podside.labels" -}}
app.kubernetes.io/name: podside-operator
app.kubernetes.io/part-of: podside
{{- with .Values.operator.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "podside.image" -}}
{{ .Values.operator.image }}:{{ .Values.operator.imageTag | default .Chart.AppVersion }}
{{- end }}

{{/* "true" when the operator makes its own serving certificate. */}}
{{- define "podside.ownCertificate" -}}
{{- if not (or .Values.tls.useExistingSecret .Values.tls.certManager.enabled) }}true{{ end }}
{{- end }}

{{/* Settings of plugins; the mode of impersonation has a value of its own. */}}
{{- define "podside.pluginSettings" -}}
{{ set (deepCopy .Values.plugins) "rbac-impersonation" (dict "mode" .Values.impersonation.mode) | toJson }}
{{- end }}
