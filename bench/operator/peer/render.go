package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	appLabel          = "app.bex.co/app"
	appUIDLabel       = "app.bex.co/app-uid"
	revisionLabel     = "app.bex.co/revision"
	managedByLabel    = "app.kubernetes.io/managed-by"
	appliedAnnotation = "app.bex.co/applied"
	releaseAnnotation = "app.bex.co/release"
	port              = "http"
	drainSeconds      = 10
	rolloutSeconds    = int32(900)
)

func digest(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func releaseOf(app *App) Release {
	config := map[string]any{"image": app.Spec.Image, "port": app.Spec.Port, "env": app.Spec.Env}
	return Release{Number: 1, Digest: digest(config)}
}

func metadata(app *App, name string) metav1.ObjectMeta {
	yes := true
	return metav1.ObjectMeta{
		Name:      name,
		Namespace: app.Namespace,
		Labels: map[string]string{
			appLabel:       app.Name,
			appUIDLabel:    string(app.UID),
			managedByLabel: operatorName,
		},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: groupVersion.String(), Kind: "App", Name: app.Name, UID: app.UID,
			Controller: &yes, BlockOwnerDeletion: &yes,
		}},
	}
}

func seal(object client.Object) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[appliedAnnotation] = digest(object)
	object.SetAnnotations(annotations)
}

func record(app *App, release Release) (*appsv1.ControllerRevision, error) {
	data, err := json.Marshal(map[string]any{
		"number": release.Number, "digest": release.Digest, "why": "first release",
		"config": map[string]any{"image": app.Spec.Image, "env": app.Spec.Env},
	})
	if err != nil {
		return nil, err
	}
	made := &appsv1.ControllerRevision{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ControllerRevision"},
		ObjectMeta: metadata(app, fmt.Sprintf("%s-rev-%d", app.Name, release.Number)),
		Revision:   release.Number,
		Data:       runtime.RawExtension{Raw: data},
	}
	seal(made)
	return made, nil
}

func deployment(app *App, release Release) *appsv1.Deployment {
	one, zero := intstr.FromInt32(1), intstr.FromInt32(0)
	history, deadline, replicas := int32(3), rolloutSeconds, app.Spec.Replicas
	made := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metadata(app, app.Name),
		Spec: appsv1.DeploymentSpec{
			Replicas:                &replicas,
			RevisionHistoryLimit:    &history,
			ProgressDeadlineSeconds: &deadline,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &one, MaxUnavailable: &zero},
			},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{appLabel: app.Name}},
			Template: template(app, release),
		},
	}
	made.Annotations = map[string]string{releaseAnnotation: release.Digest}
	seal(made)
	return made
}

func template(app *App, release Release) corev1.PodTemplateSpec {
	no, grace := false, int64(drainSeconds+30)
	revision := fmt.Sprintf("rev-%d", release.Number)
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			appLabel: app.Name, revisionLabel: revision, managedByLabel: operatorName,
		}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: &grace,
			SecurityContext: &corev1.PodSecurityContext{
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}},
			},
			Containers: []corev1.Container{container(app, revision)},
		},
	}
}

func container(app *App, revision string) corev1.Container {
	no := false
	env := make([]corev1.EnvVar, 0, len(app.Spec.Env)+2)
	for _, each := range app.Spec.Env {
		env = append(env, corev1.EnvVar{Name: each.Name, Value: each.Value})
	}
	env = append(env,
		corev1.EnvVar{Name: "PORT", Value: fmt.Sprint(app.Spec.Port)},
		corev1.EnvVar{Name: "BEX_REVISION", Value: revision})
	return corev1.Container{
		Name:                     "app",
		Image:                    app.Spec.Image,
		ImagePullPolicy:          corev1.PullAlways,
		Ports:                    []corev1.ContainerPort{{Name: port, ContainerPort: app.Spec.Port, Protocol: corev1.ProtocolTCP}},
		Env:                      env,
		Lifecycle:                &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: drainSeconds}}},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		StartupProbe:   probe(1, rolloutSeconds),
		ReadinessProbe: probe(2, 15),
		LivenessProbe:  probe(10, 6),
	}
}

func probe(period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString(port)}},
		TimeoutSeconds:   5,
		SuccessThreshold: 1,
		PeriodSeconds:    period,
		FailureThreshold: failures,
	}
}

func service(app *App) *corev1.Service {
	made := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metadata(app, app.Name),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: map[string]string{appLabel: app.Name},
			Ports: []corev1.ServicePort{{
				Name: port, Port: app.Spec.Port, TargetPort: intstr.FromString(port), Protocol: corev1.ProtocolTCP,
			}},
		},
	}
	seal(made)
	return made
}

func ingress(app *App) *networkingv1.Ingress {
	class, prefix := "bex", networkingv1.PathTypePrefix
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: app.Name, Port: networkingv1.ServiceBackendPort{Name: port},
	}}
	rule := networkingv1.IngressRule{Host: app.Spec.Host}
	rule.HTTP = &networkingv1.HTTPIngressRuleValue{
		Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: backend}},
	}
	made := &networkingv1.Ingress{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"},
		ObjectMeta: metadata(app, app.Name),
		Spec:       networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{rule}},
	}
	seal(made)
	return made
}
