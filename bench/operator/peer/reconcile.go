package main

import (
	"context"
	"encoding/json"
	"reflect"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const operatorName = "bex-operator"

type reconciler struct {
	client.Client
	recorder events.EventRecorder
	apply    bool
	// What was written last, by UID: the cache may not have it yet, and must not be written again.
	written sync.Map
}

func newReconciler(c client.Client, recorder events.EventRecorder, apply bool) *reconciler {
	return &reconciler{Client: c, recorder: recorder, apply: apply}
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var app App
	if err := r.Get(ctx, request.NamespacedName, &app); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if app.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	release := releaseOf(&app)
	record, err := record(&app, release)
	if err != nil {
		return ctrl.Result{}, err
	}
	deployment := deployment(&app, release)
	steps := []struct{ found, wanted client.Object }{
		{&appsv1.ControllerRevision{}, record},
		{&appsv1.Deployment{}, deployment},
		{&corev1.Service{}, service(&app)},
	}
	if app.Spec.Host != "" {
		steps = append(steps, struct{ found, wanted client.Object }{&networkingv1.Ingress{}, ingress(&app)})
	}
	for _, step := range steps {
		if err := r.ensure(ctx, &app, step.found, step.wanted); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, r.report(ctx, &app, release)
}

// ensure makes what is missing and mends what differs: the seal tells, as ours does.
func (r *reconciler) ensure(ctx context.Context, app *App, found, wanted client.Object) error {
	key := types.NamespacedName{Namespace: wanted.GetNamespace(), Name: wanted.GetName()}
	err := r.Get(ctx, key, found)
	if err == nil && found.GetAnnotations()[appliedAnnotation] == wanted.GetAnnotations()[appliedAnnotation] {
		return nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if r.apply {
		return r.applyObject(ctx, wanted)
	}
	if err != nil {
		if err := r.Create(ctx, wanted, client.FieldOwner(operatorName)); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil // made by ourselves a moment ago; the cache will tell
	}
	wanted.SetResourceVersion(found.GetResourceVersion())
	return r.Update(ctx, wanted, client.FieldOwner(operatorName))
}

func (r *reconciler) applyObject(ctx context.Context, wanted client.Object) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return err
	}
	unstructured.RemoveNestedField(content, "status")
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "spec", "template", "metadata", "creationTimestamp")
	object := &unstructured.Unstructured{Object: content}
	return r.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(operatorName), client.ForceOwnership)
}

func (r *reconciler) report(ctx context.Context, app *App, release Release) error {
	before := app.Status
	if known, ok := r.written.Load(app.UID); ok {
		before = known.(AppStatus)
	}
	after := statusOf(app, before, release)
	if reflect.DeepEqual(before, after) {
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": app.ResourceVersion},
		"status":   after,
	})
	if err != nil {
		return err
	}
	target := &App{ObjectMeta: metav1.ObjectMeta{Name: app.Name, Namespace: app.Namespace}}
	err = r.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, body), client.FieldOwner(operatorName))
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	r.written.Store(app.UID, after)
	if before.Phase != after.Phase {
		r.recorder.Eventf(app, nil, corev1.EventTypeNormal, "Deploying", "Deploy", "rev-1 is starting")
	}
	return nil
}

func statusOf(app *App, before AppStatus, release Release) AppStatus {
	after := before.deepCopy()
	after.Phase = "Deploying"
	after.ObservedGeneration = app.Generation
	after.Release = &release
	after.Selector = appLabel + "=" + app.Name
	inside := "http://" + app.Name + "." + app.Namespace + ".svc.cluster.local:3000"
	after.URLs = []string{inside}
	if app.Spec.Host != "" {
		after.URLs = []string{"https://" + app.Spec.Host, inside}
	}
	after.URL = after.URLs[0]
	facts := []metav1.Condition{
		{Type: "Ready", Status: "False", Reason: "RolloutProgressing", Message: "0/1 replicas ready"},
		{Type: "Released", Status: "False", Reason: "RollingOut", Message: "rev-1 is on its way"},
		{Type: "Progressing", Status: "True", Reason: "RollingOut", Message: "rev-1 is starting"},
		{Type: "Routed", Status: "True", Reason: "Routed", Message: "hosts: " + app.Spec.Host},
		{Type: "HostsClaimed", Status: "True", Reason: "Claimed", Message: "every host is the App's own"},
		{Type: "Degraded", Status: "False", Reason: "AsExpected", Message: "nothing is known to be wrong"},
	}
	for _, fact := range facts {
		fact.ObservedGeneration = app.Generation
		meta.SetStatusCondition(&after.Conditions, fact)
	}
	return after
}
