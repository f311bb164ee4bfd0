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

{{/* What values.schema.json cannot say; readValues in config/manifests/values.ts has the same. */}}
{{- define "podside.consistent" -}}
{{- with .Values.tls }}
{{- if and .certManager.enabled .useExistingSecret }}
{{- fail "tls.useExistingSecret and tls.certManager.enabled exclude each other: both fill tls.secret" }}
{{- end }}
{{- if and .certManager.enabled .certManager.createIssuer (or (ne .certManager.issuerKind "Issuer") (ne .certManager.issuerGroup "cert-manager.io")) }}
{{- fail "tls.certManager.issuerKind and issuerGroup are for an issuer that exists: set createIssuer to false" }}
{{- end }}
{{- if and .apiService.insecureSkipTLSVerify .apiService.caBundle }}
{{- fail "tls.apiService.caBundle and insecureSkipTLSVerify exclude each other" }}
{{- end }}
{{- end }}
{{- end }}
